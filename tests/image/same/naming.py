"""Texts of the image as names: attributes, keys, keywords, globals; with spaces in them, or none at all."""

import collections
import operator
import sys
import types

from imaged import names
from show import show

for name in names.attribute_names() + names.known_names() + [names.long_name(), names.long_text()]:
    holder = names.Holder()
    show(ascii(name), getattr(holder, name) if name not in ("__init__", "__doc__") else None, hasattr(types.SimpleNamespace(), name))
    setattr(holder, name, 1)
    copied = "".join(list(name))
    show(getattr(holder, copied), copied in vars(holder), vars(holder) == {copied: 1}, operator.attrgetter("known")(holder))
    delattr(holder, copied)
    show(vars(holder), sys.intern(name) is sys.intern(copied), sys.intern(name) == name)
    made = type(name.replace("\0", "") or "empty", (names.Holder,), {name: 2}) if name not in ("__init__", "__doc__") else None
    show(made and made.__name__, made and getattr(made, copied), made and name in dir(made))
    show({name: 1}[copied], {copied: 1}[name], name in {copied}, collections.Counter([name, copied]), (lambda **given: given)(**{name: 1}))
    show(types.SimpleNamespace(**{name: 1}), types.ModuleType(name).__name__ == name, hash(name) == hash(copied), name == copied)
    for other in names.attribute_names():
        if other is name:
            continue
        show(name == other, name < other, {name: 1, other: 2}.get(copied))

table = names.as_keys()
table["plain_name"] += 1
table["".join(["größ", "e"])] = "found"
show(table, names.as_keys(), list(names.as_keys()), names.dictionary_with("plain_name"), names.dictionary_with("new"))
del table["a name with spaces"]
show(table, "a name with spaces" in table, names.uses_attributes(names.Holder()), names.keyword_call(lambda **given: given), names.imports_inside())
show(names.declares_globals(), vars(names)["made_by_function"], "made_by_function" in dir(names))
show([name for name in dir(names) if not name.startswith("__")], names._Holder if hasattr(names, "_Holder") else None)

namespace = {}
exec("from imaged.names import *", namespace)
show(sorted(name for name in namespace if not name.startswith("__")))
for text in (names.long_text(), names.attribute_names()[2], ""):
    show(names.keyword_call(lambda **given: sorted(given)), sys.intern(text) is sys.intern("".join(list(text))))
