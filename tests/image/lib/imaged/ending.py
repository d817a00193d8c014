"""Objects that outlive the program, and speak when they go."""

import atexit
import sys
import threading
import weakref


def write(text, out=sys.stdout):
    # Not print: builtins may be gone.
    out.write(text + "\n")
    out.flush()


class Speaks:
    """Says something when it goes, from code and with constants of the image."""

    def __init__(self, name):
        self.name = name

    def __del__(self, write=write):
        # Globals may be None by now.
        write("gone: %s, %s" % (self.name, "a constant of the destructor"))


@atexit.register
def last():
    write("atexit of the module")


class Cycle(Speaks):
    def __init__(self, name):
        super().__init__(name)
        self.itself = self


def generator(write=write):
    try:
        yield 1
    finally:
        write("the generator is closed")


A_GLOBAL = Speaks("a global")
_A_PRIVATE_GLOBAL = Speaks("a private global")
A_CYCLE = Cycle("a cycle")
A_GENERATOR = generator()
next(A_GENERATOR)
finalized = weakref.finalize(A_GLOBAL, write, "finalize")


def in_thread():
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (ended.wait(), write("the thread ends")))
    thread.start()
    threading._register_atexit(ended.set)
