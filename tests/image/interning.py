"""Which texts are interned, and which objects are one: names in code, and constants that look like names."""

import importlib.util
import sys

import imaged
from show import codes, show

is_interned = getattr(sys, "_is_interned", lambda text: None)


def told(text):
    # From 3.13 on Python says so; before, only that interning an equal text gives this one.
    known = is_interned(text)
    return known if known is not None else sys.intern("".join(list(text))) is text


for name in imaged.QUIET:
    name = "imaged." + name
    code = importlib.util.find_spec(name).loader.get_code(name)
    for each in codes(code):
        names = (*each.co_names, *each.co_varnames, *each.co_freevars, *each.co_cellvars, each.co_name)
        show(each.co_qualname, [text for text in names if not told(text)])
        show([(text, told(text)) for text in each.co_consts if type(text) is str])
    # The same name in two code objects.
    first = {}
    show([text for each in codes(code) for text in each.co_names if first.setdefault(text, text) is not text])
