"""tracemalloc, and the sizes of objects, while modules of the image are imported and run."""

import sys
import tracemalloc

from show import codes, show

tracemalloc.start(5)
from imaged import classes, constants, functions, hot, text  # noqa: E402

kept = [hot.arithmetic(50), hot.calls(50), functions.comprehended(5), functions.counter(3), classes.Item("traced"), constants.nested()]
snapshot = tracemalloc.take_snapshot()
show(len(snapshot.traces) > 10, len(snapshot.statistics("lineno")) > 3, tracemalloc.get_traced_memory()[0] > 0)
# What an object of the image, or a constant, tells of itself is nothing or a trace: never an error.
for value in (functions.counter.__code__, functions.counter.__code__.co_consts, text.ascii_text(), constants.numbers(), functions.looped):
    trace = tracemalloc.get_object_traceback(value)
    show(trace is None or len(trace) > 0)
show(tracemalloc.get_object_traceback(kept[3][0]) is not None)
grown = text.ascii_text() + "!"
show(tracemalloc.get_object_traceback(grown) is not None, len(grown))
tracemalloc.stop()
del kept

for function in (functions.counter, functions.comprehended, constants.in_mixed, hot.calls):
    for code in codes(function.__code__):
        sizes = [sys.getsizeof(code.co_consts), sys.getsizeof(code.co_names), sys.getsizeof(code.co_linetable), sys.getsizeof(code.co_exceptiontable)]
        show(code.co_qualname, sys.getsizeof(code) > 100, sizes, [sys.getsizeof(name) > 0 for name in code.co_names])
show([sys.getsizeof(each) for each in (*constants.numbers(), *constants.nested(), *constants.bytestrings())])
show(sys.getallocatedblocks() > 0, [each.__sizeof__() > 0 for each in constants.texts()])
