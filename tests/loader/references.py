"""Counts references on a debug build: how many more there are after each import and reload, once all is warm.

    references.py NAME...    prints the growth over the later half of the rounds
"""

import gc
import importlib
import sys

names = sys.argv[1:]


def again(name):
    """Imported anew, then reloaded."""
    sys.modules.pop(name, None)
    importlib.reload(importlib.import_module(name))


def rounds(count):
    for _ in range(count):
        for name in names:
            again(name)
        gc.collect()
    return sys.gettotalrefcount()


rounds(10)
before = rounds(1)
after = rounds(20)
print(after - before, type(sys.modules[names[0]].__loader__).__module__)
