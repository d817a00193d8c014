"""An audit hook hears of what is unmarshalled, may keep it, and may do anything meanwhile: import, or let another thread run, which imports."""

import faulthandler
import sys
import threading

from show import show

faulthandler.dump_traceback_later(60, exit=True)
kept = []
stop = False


def hook(event, arguments):
    if event == "marshal.loads":
        kept.append((arguments[0], bytes(arguments[0])))
        import imaged.hot  # noqa: F401

        for _ in range(50_000):
            pass


def others():
    number = 0
    while not stop:
        number += 1
        try:
            __import__("imaged.nothing%d" % number)
        except ImportError:
            pass


sys.setswitchinterval(1e-5)
sys.addaudithook(hook)
thread = threading.Thread(target=others)
thread.start()
from imaged import classes, constants, functions, hot, names  # noqa: E402

stop = True
thread.join()
show(constants.in_mixed("x"), hot.calls(3), functions.comprehended(4), names.as_keys(), classes.Item("x"))
show(bool(kept), all(bytes(given) == then for given, then in kept))
