"""Coverage: by trace function, by monitoring that switches itself off, and by the standard library's trace module."""

import os
import sys
import trace

from imaged import constants, functions
from show import show


def program():
    for n in (0, 2, 5):
        functions.guarded(n)
    functions.managed(False)
    functions.comprehended(3)
    functions.matched("text")
    constants.in_mixed(1)
    import imaged.names

    imaged.names.grows(2)


def told(what, lines):
    show("==", what, sorted({(os.path.basename(name), line) for name, line in lines}))


lines = set()


def trace_lines(frame, event, argument):
    if "imaged" not in frame.f_code.co_filename:
        return None
    lines.add((frame.f_code.co_filename, frame.f_lineno))
    return trace_lines


sys.settrace(trace_lines)
program()
sys.settrace(None)
told("trace function", lines)

# As coverage.py does it: each line once, then its event is switched off.
lines.clear()
tool = sys.monitoring.COVERAGE_ID
sys.monitoring.use_tool_id(tool, "coverage")


def start(code, offset):
    if "imaged" in code.co_filename:
        sys.monitoring.set_local_events(tool, code, sys.monitoring.events.LINE)
    return sys.monitoring.DISABLE


def line(code, number):
    lines.add((code.co_filename, number))
    return sys.monitoring.DISABLE


sys.monitoring.register_callback(tool, sys.monitoring.events.PY_START, start)
sys.monitoring.register_callback(tool, sys.monitoring.events.LINE, line)
sys.monitoring.set_events(tool, sys.monitoring.events.PY_START)
program()
told("monitoring", lines)
sys.monitoring.set_events(tool, 0)
sys.monitoring.free_tool_id(tool)

counted = trace.Trace(count=1, trace=0, countfuncs=0, ignoredirs=[sys.prefix, sys.exec_prefix])
counted.runfunc(program)
told("trace", [key for key in counted.results().counts if "imaged" in key[0]])
counted = trace.Trace(count=0, trace=0, countcallers=1)
counted.runfunc(program)
show(sorted((caller[2], callee[2]) for caller, callee in counted.results().callers if "imaged" in callee[0]))
lines = trace._find_executable_linenos(functions.__file__)
show(sorted(line for line in lines if line is not None))
