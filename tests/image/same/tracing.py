"""sys.settrace and sys.setprofile: every event, line and instruction, in code that has run before and code that has not."""

import gc
import sys
import threading

from imaged import awaits, constants, fails, functions, hot
from show import show

# What the collector finds, and closes, would come at any time.
gc.disable()
events = []


def note(frame, event, argument):
    if "imaged" in frame.f_code.co_filename:
        if event == "exception":
            argument = argument[0].__name__
        elif event.startswith("c_"):
            argument = argument.__qualname__
        elif isinstance(argument, (int, str, tuple, list, type(None))):
            argument = repr(argument)[:60]
        else:
            argument = type(argument).__name__
        events.append((event, frame.f_code.co_qualname, frame.f_lineno, frame.f_lasti, argument))
    return note


def note_instructions(frame, event, argument):
    if "imaged" in frame.f_code.co_filename:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
    note(frame, event, argument)
    return note_instructions


def program():
    functions.positional(1, 2, 3, 4, d=5, e=6)
    increase, look = functions.counter(1)
    increase()
    look()
    functions.guarded(0)
    functions.guarded(5)
    functions.grouped([ValueError(), KeyError()])
    functions.managed(True)
    functions.comprehended(3)
    for value in (1, 200, [1, 2], {"key": 1}, "text", None, object()):
        functions.matched(value)
    going = functions.generated(2)
    next(going)
    going.send("sent")
    going.throw(LookupError("thrown"))
    functions.looped(5)
    functions.recursive(4)
    constants.in_texts("a")
    hot.arithmetic(3)
    hot.attributes(2)
    try:
        fails.outer(1)
    except TypeError:
        pass


def run(how, install, function):
    events.clear()
    install(function)
    try:
        program()
        gc.collect()
    finally:
        install(None)
    show("==", how, len(events))
    for event in events:
        show(*event)


run("lines", sys.settrace, note)
run("instructions", sys.settrace, note_instructions)
run("profile", sys.setprofile, note)
# Specialised before they are traced.
hot.arithmetic(500)
hot.calls(500)
hot.attributes(500)
run("lines again", sys.settrace, note)
show(hot.arithmetic(500)[0], hot.calls(500), hot.attributes(500))

# The first trace of a module's body, while it is being imported.
for name, function in (("generic", note), ("classes", note_instructions)):
    events.clear()
    sys.settrace(function)
    __import__("imaged." + name)
    sys.settrace(None)
    show("==", name, len(events))
    for event in events:
        show(*event)

# In threads, and in coroutines.
events.clear()
threading.settrace(note)
thread = threading.Thread(target=functions.looped, args=(4,))
thread.start()
thread.join()
threading.settrace(None)
show("==", "thread", *events)
events.clear()
sys.settrace(note)
try:
    awaits.managed([], True).send(None)
except StopIteration as end:
    show(end.value)
sys.settrace(None)
show("==", "coroutine", *events)

# A trace function that jumps.
def jumps(frame, event, argument):
    if frame.f_code is functions.looped.__code__ and event == "line" and frame.f_lineno == first + 2:
        frame.f_lineno = first + 10
    return jumps


first = functions.looped.__code__.co_firstlineno
sys.settrace(jumps)
try:
    show("==", "jump", functions.looped(3))
except Exception as error:
    show("==", "jump", type(error).__name__, error)
finally:
    sys.settrace(None)
