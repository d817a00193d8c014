"""The cycle collector looks at, past and through objects of the image; what it tells of them is what it tells of stock ones."""

import gc
import sys
import weakref

from imaged import classes, constants, functions, hot, text
from show import codes, show

all_codes = [code for function in (functions.counter, functions.comprehended, functions.guarded, constants.in_mixed, *hot.ALL) for code in codes(function.__code__)]
gc.collect()
tracked = {id(each) for each in gc.get_objects()}
show([gc.is_tracked(code) for code in all_codes], [id(code) in tracked for code in all_codes])
show([gc.is_finalized(code) for code in all_codes], [gc.is_tracked(function) for function in hot.ALL])
# Whether a tuple of constants is tracked depends on when the collector last saw it; one of the image never is, and need not be.
show(any(isinstance(each, str) for each in gc.get_objects()))
for code in all_codes:
    found = gc.get_referents(code)
    show(code.co_qualname, sorted(type(each).__name__ for each in found), code.co_consts in found, code.co_names in found)
    show(gc.get_referents(code.co_name), [repr(each)[:40] for each in gc.get_referents(code.co_names)] == [repr(each)[:40] for each in reversed(code.co_names)] or code.co_names)
show([type(each).__name__ for each in gc.get_referrers(functions.counter.__code__) if each is not all_codes])
show(any(each is vars(functions) for each in gc.get_referrers(functions.counter)))
counts = [sys.getrefcount(each) > 0 for code in all_codes for each in (code, code.co_consts, code.co_names, code.co_name, *code.co_consts)]
show(all(counts), len(counts))

gc.freeze()
show(gc.get_freeze_count() > 0)
for generation in range(3):
    gc.collect(generation)
show(hot.containers(10), functions.comprehended(3), constants.in_mixed("x"))
gc.unfreeze()
gc.collect()

# Cycles through functions and code of the image are found, and die.
class Watched:
    pass


died = []
for number in range(10):
    watched = Watched()
    watched.functions = functions.counter(number)
    watched.itself = watched
    watched.constants = [constants.nested(), text.table(), functions.counter.__code__]
    weakref.finalize(watched, died.append, number)
del watched
gc.collect()
show(died)

# With thresholds that have it run all the time, and with everything saved that it finds.
old = gc.get_threshold()
gc.set_threshold(1, 1, 1)
show(functions.comprehended(10)[2], functions.managed(True), hot.slots_and_calls(100), classes.Item("collected").total(3))
gc.set_threshold(*old)
gc.set_debug(gc.DEBUG_SAVEALL)
functions.counter(1)
made = [functions.counter(2)]
made.append(made)
del made
gc.collect()
show(sum(type(each).__name__ == "function" and each.__module__ == "imaged.functions" for each in gc.garbage))
gc.set_debug(0)
gc.garbage.clear()
gc.collect()
show(functions.counter(1)[0]())
