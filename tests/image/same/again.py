"""A module's code asked for again: get_code twice, reload, imported anew, executed in other namespaces."""

import importlib
import importlib.util
import sys
import types

import imaged.switched
from show import FIELDS, describe, show

FIELDS = [name for name in FIELDS if name != "_co_code_adaptive"]
name = "imaged.switched"
module = imaged.switched
answer, kept = module.answer, module.Kept()
show(answer(), kept.method(), module.TIMES)
loader = module.__spec__.loader
first, second = loader.get_code(name), loader.get_code(name)
show(first == second, describe(first, FIELDS) == describe(second, FIELDS), answer.__code__ in first.co_consts)
importlib.reload(module)
show(module.answer(), answer(), kept.method(), module.Kept().method(), isinstance(kept, module.Kept), module.answer.__code__ == answer.__code__)
del sys.modules[name]
again = importlib.import_module(name)
show(again is module, again.answer(), module.answer(), again.Kept().method())
for times in range(3):
    namespace = {"__name__": "elsewhere%d" % times}
    exec(first, namespace)
    show(sorted(namespace), namespace["answer"](), namespace["Kept"]().method(), namespace["TIMES"])

# Code that was asked for but not run, then the module imported.
code = importlib.util.find_spec("imaged.names").loader.get_code("imaged.names")
from imaged import names  # noqa: E402

show(code.co_name, names.grows(2), describe(importlib.util.find_spec("imaged.names").loader.get_code("imaged.names"), FIELDS) == describe(code, FIELDS))
space = types.ModuleType("imaged.names")
exec(code, vars(space))
show(space.grows(3), space.as_keys(), space.uses_attributes(space.Holder()))
# Many times over.
spec = importlib.util.find_spec("imaged.constants")
all_of_them = [describe(spec.loader.get_code(spec.name), FIELDS) for _ in range(5)]
show(all(each == all_of_them[0] for each in all_of_them))
for _ in range(5):
    module = importlib.util.module_from_spec(importlib.util.find_spec("imaged.constants"))
    module.__spec__.loader.exec_module(module)
    show(module.in_texts("sea"), module.keywords(), module.NUMBERS == module.numbers())
