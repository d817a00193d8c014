"""Forks: before anything is imported, between imports, in the middle of one, from a thread; and the order of what runs at a fork."""

import os
import sys
import threading
import warnings

from show import show

warnings.simplefilter("ignore")
order = []
for name in ("first", "second"):
    os.register_at_fork(
        before=lambda name=name: order.append("before " + name),
        after_in_parent=lambda name=name: order.append("parent " + name),
        after_in_child=lambda name=name: order.append("child " + name),
    )


def wait_for(child):
    _, status = os.waitpid(child, 0)
    show("a child ended with", status)


def child(work):
    """Runs `work` in a child of a fork, and ends it as an interpreter ends."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    wait_for(pid)


def everything():
    import imaged.classes
    import imaged.constants
    import imaged.functions
    import imaged.hot
    import imaged.names
    import imaged.text

    show(imaged.hot.arithmetic(100), imaged.hot.calls(100), imaged.functions.comprehended(4), imaged.functions.managed(True))
    show(imaged.constants.in_mixed("x"), imaged.names.as_keys(), imaged.classes.Item("x"), imaged.text.table())
    show(imaged.names.uses_attributes(imaged.names.Holder()), imaged.classes.Child().cached)


def and_again():
    """A child of a child."""
    everything()
    child(everything)


child(everything)
import imaged.hot  # noqa: E402

show(imaged.hot.arithmetic(10))
child(and_again)
import imaged.functions  # noqa: E402, F401

children = []
for _ in range(4):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            out, sys.stdout = sys.stdout, open(os.devnull, "w")
            everything()
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
for pid in children:
    wait_for(pid)

# In the middle of an import.
sys.stdout.flush()
import imaged.forking  # noqa: E402

if imaged.forking.CHILD == 0:
    show(imaged.forking.RESULT, imaged.forking.after())
    everything()
    sys.stdout.flush()
    os._exit(0)
wait_for(imaged.forking.CHILD)
show(imaged.forking.RESULT, imaged.forking.after())

# While other threads import.
def imports():
    for name in ("email.message", "statistics", "configparser", "html.parser", "difflib", "fractions"):
        __import__(name)


thread = threading.Thread(target=imports)
thread.start()
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    # One that imports nothing else: a module whose import the other thread was in the middle of stays locked in a child of any CPython.
    import imaged.text

    os._exit(0 if imaged.text.table() else 1)
wait_for(pid)
thread.join()
everything()
show(order[:8], len(order))
show(sum(each.startswith("before") for each in order), sum(each.startswith("parent") for each in order))
# A child that ends as a program does, with all that an ending does.
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    import imaged.ending

    sys.exit(0)
wait_for(pid)
