"""Sources, files and lines of functions, and tracebacks with their carets."""

import inspect
import io
import linecache
import os
import sys
import traceback
import types

from imaged import classes, constants, fails, functions, generic, text
from show import show

root = os.path.dirname(os.path.dirname(functions.__file__))


def local(told):
    return told.replace(root, "…")


for module in (constants, functions, text, fails, generic):
    show(inspect.getsource(module) == open(module.__file__, encoding="utf-8").read(), inspect.getdoc(module), local(inspect.getfile(module)))
    for name, function in sorted(vars(module).items()):
        if isinstance(function, types.FunctionType):
            show(name, inspect.getsource(function), inspect.getsourcelines(function)[1], inspect.getcomments(function), inspect.getdoc(function))
            show(local(inspect.getsourcefile(function) or ""), inspect.getmodule(function).__name__, inspect.signature(function), function.__annotations__)
            show(inspect.getclosurevars(function).globals.keys(), inspect.getfullargspec(function).args)
for each in (classes.Child, classes.Child.Inner.method, classes.Item, fails.Odd, generic.Stack, generic.Stack.push):
    show(inspect.getsource(each), inspect.getsourcelines(each)[1])
code = functions.counter.__code__
show(inspect.getsource(code), inspect.iscode(code), code.co_positions is not None, linecache.getline(code.co_filename, code.co_firstlineno))

for call in fails.CALLS:
    try:
        call()
    except Exception as error:
        show(local(traceback.format_exc()))
        lines = traceback.extract_tb(error.__traceback__)
        show([(each.name, each.lineno, each.end_lineno, each.colno, each.end_colno, each.line) for each in lines])
        frame = inspect.trace()[-1]
        show(frame.function, frame.lineno, frame.positions, frame.code_context)
        # By the interpreter itself, not the module.
        hook, stderr = sys.__excepthook__, sys.stderr
        sys.stderr = io.StringIO()
        hook(type(error), error, error.__traceback__)
        told, sys.stderr = sys.stderr.getvalue(), stderr
        show(local(told))
        carets = "^" in told or "~" in told
        assert carets or call is not fails.CALLS[0] or "no_debug_ranges" in sys._xoptions, told
        assert not (carets and "no_debug_ranges" in sys._xoptions), told
try:
    functions.grouped([OSError("not handled")])
except ExceptionGroup:
    show(local(traceback.format_exc()))
