"""faulthandler and sys._current_frames: what reads frames and code from outside."""

import faulthandler
import os
import re
import sys
import tempfile
import threading

from imaged import functions, hot
from show import show

root = os.path.dirname(os.path.dirname(functions.__file__))


def dumped(**options):
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, **options)
        file.seek(0)
        told = file.read().decode().replace(root, "…")
        # Numbers of threads, and names of them that some versions tell.
        return re.sub(r"(Current t|T)hread .*", "Thread", told)


class Dumps(int):
    """Is added to, deep in a function of the image."""

    def __gt__(self, other):
        show(dumped())
        return False


functions.matched(Dumps(5))


class Recursing(int):
    def __lt__(self, other):
        if self == 1:
            show(dumped(all_threads=False))
        return int.__lt__(self, other)

    def __sub__(self, other):
        return Recursing(int.__sub__(self, other))


functions.recursive(Recursing(4))

# Of a thread that waits in a function of the image, at a known line.
reached, go_on = threading.Event(), threading.Event()


class Waits(int):
    def __gt__(self, other):
        reached.set()
        go_on.wait()
        return True


thread = threading.Thread(target=functions.matched, args=(Waits(3),))
thread.start()
reached.wait()
frame = sys._current_frames()[thread.ident]
while frame.f_code is not functions.matched.__code__:
    frame = frame.f_back
show(frame.f_code.co_qualname, frame.f_lineno - frame.f_code.co_firstlineno, sorted(frame.f_locals), frame.f_lasti)
show("in matched" in dumped(), sys._current_exceptions()[thread.ident])
del frame
go_on.set()
thread.join()
faulthandler.enable()
show(faulthandler.is_enabled(), hot.arithmetic(3))
faulthandler.disable()
