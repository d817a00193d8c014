"""Counts references on a debug build while modules of an image are imported, each once, forgotten, run and reloaded.

    references.py COUNT    imports COUNT modules many.m0, many.m1, ...; prints the growth while the later half is imported, then while
                           functions run, then while modules are reloaded
"""

import gc
import importlib
import sys

count = int(sys.argv[1])
import many  # noqa: E402
from imaged import functions, hot, switched  # noqa: E402


def imported(numbers):
    """Imports and forgets them; what they leave behind is for the count."""
    for number in numbers:
        name = "many.m%d" % number
        importlib.import_module(name).run()
        del sys.modules[name]
        delattr(many, "m%d" % number)
    gc.collect()
    return sys.gettotalrefcount()


def run(times):
    for _ in range(times):
        hot.calls(20), hot.attributes(20), hot.containers(20), hot.methods(20), functions.comprehended(3), functions.guarded(0), functions.managed(True)
    gc.collect()
    return sys.gettotalrefcount()


def reloaded(times):
    for _ in range(times):
        importlib.reload(switched).answer()
    gc.collect()
    return sys.gettotalrefcount()


imported(range(count // 2))
before = imported(())
after = imported(range(count // 2, count))
growth = [after - before]
for work in (run, reloaded):
    work(20)
    before = work(1)
    growth.append(work(50) - before)
print(*growth)
