"""sys.monitoring: all events, globally and of one code object, switched off by callbacks and on again; two tools at once."""

import gc
import sys
import types

from imaged import functions, hot
from show import show

# What the collector finds, and closes, would come at any time.
gc.disable()
E = sys.monitoring.events
NAMES = [name for name in dir(E) if name.isupper() and name != "NO_EVENTS"]
# Those that cannot be asked for: they come with CALL.
GLOBAL = [name for name in NAMES if name not in ("C_RETURN", "C_RAISE")]
# Those that one code object can be asked for.
LOCAL = [name for name in GLOBAL if name not in ("RAISE", "RERAISE", "EXCEPTION_HANDLED", "PY_UNWIND", "PY_THROW")]
seen = []
tool = sys.monitoring.PROFILER_ID
sys.monitoring.use_tool_id(tool, "all")


def told(argument):
    if isinstance(argument, (int, str, type(None))):
        return argument
    return getattr(argument, "__qualname__", type(argument).__name__)


def callback(name, answer=None):
    def called(code, *arguments):
        if isinstance(code, types.CodeType) and "imaged" in code.co_filename:
            seen.append((name, code.co_qualname, *map(told, arguments)))
            return answer
        return None

    return called


def register(tool, answer=None):
    for name in NAMES:
        sys.monitoring.register_callback(tool, getattr(E, name), callback(name, answer))


def mask(names):
    total = 0
    for name in names:
        total |= getattr(E, name)
    return total


def program():
    increase, look = functions.counter()
    increase(2)
    functions.guarded(0)
    functions.guarded(5)
    functions.managed(True)
    functions.comprehended(3)
    functions.matched([1, 2])
    list(functions.generated(2))
    going = functions.generated(1)
    next(going)
    try:
        going.throw(LookupError("thrown"))
    except StopIteration:
        pass
    functions.looped(4)
    hot.methods(2)
    hot.containers(2)
    hot.attributes(2)
    hot.generators(2)


def run(what):
    seen.clear()
    program()
    gc.collect()
    show("==", what, len(seen))
    for each in seen:
        show(*each)


register(tool)
sys.monitoring.set_events(tool, mask(GLOBAL))
run("all")
run("all again")
sys.monitoring.set_events(tool, 0)
run("none")
# Specialised, then watched.
for function in (hot.attributes, hot.methods, hot.containers, functions.looped):
    function(300)
for name in GLOBAL:
    sys.monitoring.set_events(tool, getattr(E, name))
    run(name)
sys.monitoring.set_events(tool, 0)

# Of single code objects; a second tool watches another.
other = sys.monitoring.COVERAGE_ID
sys.monitoring.use_tool_id(other, "other")
register(other)
for name in LOCAL:
    try:
        sys.monitoring.set_local_events(tool, functions.looped.__code__, getattr(E, name))
        sys.monitoring.set_local_events(other, hot.containers.__code__, getattr(E, name))
    except ValueError as error:
        show(name, error)
        continue
    show(sys.monitoring.get_local_events(tool, functions.looped.__code__) == getattr(E, name))
    run("local " + name)
for each, code in ((tool, functions.looped.__code__), (other, hot.containers.__code__)):
    sys.monitoring.set_local_events(each, code, 0)
run("no local ones")

# Switched off by what they return, at each place once; then on again.
register(tool, sys.monitoring.DISABLE)
allowed = [name for name in GLOBAL if name in LOCAL]
sys.monitoring.set_events(tool, mask(allowed))
run("switched off at once")
run("nothing is left")
sys.monitoring.restart_events()
run("once more")
sys.monitoring.set_events(tool, 0)

# Tracing and monitoring together.
register(tool)
sys.monitoring.set_events(tool, E.LINE | E.PY_START)
sys.settrace(lambda *given: None)
run("with a trace function")
sys.settrace(None)
sys.monitoring.set_events(tool, 0)
sys.monitoring.free_tool_id(tool)
sys.monitoring.free_tool_id(other)
show(functions.looped(20), hot.containers(20), hot.attributes(20))
