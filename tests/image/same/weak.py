"""Weak references to code, functions and what they make; dictionaries with them as keys."""

import gc
import weakref

from imaged import classes, functions, hot
from show import codes, show

all_codes = [code for function in (functions.counter, functions.comprehended, *hot.ALL) for code in codes(function.__code__)]
called = []
references = [weakref.ref(code, called.append) for code in all_codes]
show([reference() is code for reference, code in zip(references, all_codes)], [weakref.getweakrefcount(code) for code in all_codes])
show([weakref.ref(code) == reference for reference, code in zip(references, all_codes)], len({hash(each) for each in references}) > 5)
table = weakref.WeakKeyDictionary((code, code.co_qualname) for code in all_codes)
show(sorted(table.values()), [table[code] == code.co_qualname for code in all_codes])
hot.calls(100)
proxy = weakref.proxy(functions.counter.__code__)
show(proxy.co_name, proxy.co_consts == functions.counter.__code__.co_consts)
del proxy
del references[::2]
gc.collect()
show([weakref.getweakrefcount(code) for code in all_codes], called)

# Code that is a copy dies as ever.
copied = functions.looped.__code__.replace(co_name="copied")
reference = weakref.ref(copied, lambda gone: called.append("gone"))
del copied
show(reference(), called)
increase = weakref.ref(functions.counter()[0])
method = weakref.WeakMethod(classes.Child().must)
show(increase(), method())
finalizer = weakref.finalize(functions.looped, called.append, "never: the module keeps it")
show(finalizer.alive, finalizer.detach() is not None)
# Still there when the interpreter ends.
kept = [weakref.ref(code, lambda gone: None) for code in all_codes]
show(len(kept), sorted(each.co_qualname for each in weakref.WeakSet(all_codes)))
