"""How a program ends: handlers, destructors of what is left in modules, generators and threads that are not done."""

import sys

from imaged import classes, ending, functions, hot
from show import show

hot.calls(100)
increase, look = functions.counter(1)
suspended = functions.generated(3)
next(suspended)
ending.in_thread()
kept = [ending.Speaks("in a list of the program"), increase, suspended, classes.Child]
kept.append(kept)
sys.keeps_beyond_modules = ending.Speaks("an attribute of sys")
builtins = __builtins__
builtins.keeps_beyond_sys = hot.calls
show("the program is done")
