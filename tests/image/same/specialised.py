"""The interpreter specialises the instructions of the image's functions as it does those of stock ones: what dis shows once they are warm."""

import dis
import io
import re
import sys

from imaged import hot
from show import codes, show


def same_constants(text):
    """3.14 and later tell constants that live forever from others, and those of an image live forever."""
    return re.sub("LOAD_CONST_(IM)?MORTAL *", "LOAD_CONST_… ", text)


def listing(code):
    out = io.StringIO()
    dis.dis(code, adaptive=True, file=out, depth=0)
    return same_constants(out.getvalue())


def instructions(code):
    return [(each.offset, same_constants(each.opname)) for each in dis.get_instructions(code, adaptive=True)]


cold = {function.__qualname__: instructions(function) for function in hot.ALL}
for rounds in (3, 500):
    for function in hot.ALL:
        if function.__code__.co_argcount == 1 and function.__name__ != "value" and function is not hot.callee:
            show(function(rounds))
    account = hot.Derived(3)
    for _ in range(rounds):
        account.value()
        hot.callee(1)
    for function in hot.ALL:
        for code in codes(function.__code__):
            show(rounds, code.co_qualname, instructions(code))
            show(listing(code))
warm = [name for function in hot.ALL for _, name in instructions(function) if name not in dis.opmap]
# That something was specialised at all.
assert len(warm) > 40, warm
show(sorted(set(warm)))
# Not specialised is what dis shows without being asked, before and after.
for function in hot.ALL:
    plain = [each.opname for each in dis.get_instructions(function)]
    assert all(name in dis.opmap for name in plain), plain
    show(function.__qualname__, plain, cold[function.__qualname__])

# What guards them: another type, another class, another global, another function.
hot.Account.interest = 5
show(hot.attributes(50))
hot.SCALE = 7
show(hot.globals_and_builtins(50))
before = hot.callee
hot.callee = lambda value, by=3: value * by
show(hot.calls(50))
hot.callee = before
hot.callee.__defaults__ = (10,)
show(hot.calls(50))
hot.callee.__code__ = (lambda value, by=1: value - by).__code__
show(hot.calls(50))
hot.min = max
show(hot.globals_and_builtins(50))
hot.Point.moved = lambda self, by: hot.Point(by, by)
show(hot.slots_and_calls(50))
hot.Point.__init__ = lambda self, x, y: setattr(self, "x", 1)
show(hot.slots_and_calls(50))
for function in hot.ALL:
    show(instructions(function))
show(sys.flags.optimize)
