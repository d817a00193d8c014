"""pdb, with its commands from a file, and bdb's breakpoints."""

import bdb
import io
import os
import pdb
import sys

from imaged import functions, hot
from show import show

COMMANDS = """\
break imaged.functions.looped
break {file}:{line}
continue
step
next
print(n, total)
where
list
args
continue
up
down
disable 1
tbreak imaged.hot.callee
continue
return
source imaged.hot.callee
whatis value
continue
quit
"""

line = functions.guarded.__code__.co_firstlineno + 6
out = io.StringIO()
commands = COMMANDS.format(file=functions.__file__, line=line)
debugger = pdb.Pdb(stdin=io.StringIO(commands), stdout=out, nosigint=True, readrc=False)
debugger.use_rawinput = False


def program():
    functions.looped(3)
    functions.guarded(5)
    functions.looped(2)
    hot.calls(3)
    return "the end"


try:
    debugger.runcall(program)
except bdb.BdbQuit:
    show("quit")
finally:
    sys.settrace(None)
show(out.getvalue().replace(os.path.dirname(os.path.dirname(functions.__file__)), "…"))


class Stops(bdb.Bdb):
    """Notes where it stops, and goes on."""

    def __init__(self):
        super().__init__()
        self.stops = []

    def user_line(self, frame):
        if "imaged" in frame.f_code.co_filename:
            self.stops.append((frame.f_code.co_name, frame.f_lineno, sorted(frame.f_locals)))
        self.set_continue()

    def user_exception(self, frame, told):
        self.stops.append(("exception", frame.f_code.co_name, told[0].__name__))


stops = Stops()
show(stops.set_break(functions.__file__, functions.looped.__code__.co_firstlineno + 4))
show(stops.set_break(functions.__file__, functions.looped.__code__.co_firstlineno + 6, cond="i == 2"))
show(stops.set_break(functions.__file__, 100000))
show(stops.runcall(program))
for stop in stops.stops:
    show(*stop)
stops.clear_all_breaks()
show(stops.runcall(program), len(stops.stops))
sys.settrace(None)
