"""Finders and hooks that programs put beside those of Python keep their say: the same printed under pye as without.

    finders.py DIRECTORY    a directory outside sys.path, with edited.py
"""

import copy
import importlib
import importlib.util
import os
import pickle
import site
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, PathFinder, SourceFileLoader

outside = sys.argv[1]
lib = next(entry for entry in sys.path if os.path.basename(entry) == "lib" and os.path.exists(os.path.join(entry, "single.py")))


def forget(*names):
    for name in names:
        sys.modules.pop(name, None)


import single
import app.mod

print(single.WHO, app.mod.greet("first"))

# An editable install by .pth: a directory on sys.path.
pth = os.path.join(outside, "site")
os.mkdir(pth)
with open(os.path.join(pth, "editable.pth"), "w") as file:
    file.write(outside + "\n")
site.addsitedir(pth)
os.remove(os.path.join(pth, "editable.pth"))
os.rmdir(pth)
import edited

print(edited.WHERE, edited.__file__ == os.path.join(outside, "edited.py"))


# An editable install by a finder on sys.meta_path that maps names to files; after PathFinder, and before it.
class Editable:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in ("mapped", "plain"):
            return importlib.util.spec_from_file_location(fullname, os.path.join(outside, "edited.py"))


sys.meta_path.append(Editable)
import mapped
import plain

print(mapped.WHERE, getattr(plain, "WHAT", None))
sys.meta_path.remove(Editable)
sys.meta_path.insert(0, Editable)
forget("plain")
import plain

print(getattr(plain, "WHERE", None))
sys.meta_path.remove(Editable)
forget("plain", "mapped")


# A hook for directories that comes before the stock one: its loader decides.
class Upper(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        module.LOADED_BY = "Upper"


hook = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (Upper, [".py"]))
sys.path_hooks.insert(0, hook)
sys.path_importer_cache.clear()
forget("single", "app", "app.mod")
import single
import app.mod

print(single.LOADED_BY, app.mod.LOADED_BY)
sys.path_hooks.remove(hook)
# What it made stays in the cache until that is cleared.
forget("single")
import single

print(getattr(single, "LOADED_BY", None))
sys.path_importer_cache.clear()
forget("single")
import single

print(getattr(single, "LOADED_BY", None))


# A path entry finder that insists on its second parameter, for an entry before the others.
class Entry:
    def __init__(self, entry):
        if entry != "special:":
            raise ImportError

    def find_spec(self, fullname, target):
        print("asked for", fullname, target is None)
        if fullname == "special":
            return ModuleSpec(fullname, importlib.util.spec_from_file_location("x", os.path.join(outside, "edited.py")).loader)


sys.path_hooks.append(Entry)
sys.path.insert(0, "special:")
forget("single", "special")
import single

try:
    import special
except ImportError as error:
    print(error)
importlib.reload(single)
sys.path.remove("special:")

# One put into the cache by hand, and one entry that has no finder at all.
sys.path_importer_cache[lib] = None
forget("twice")
import twice

print(twice.WHERE)
del sys.path_importer_cache[lib]
forget("twice")
import twice

print(twice.WHERE)

# Specifications compare as what they say, with those of the stock finder too; and go where programs send them.
again, stock = importlib.util.find_spec("single"), PathFinder.find_spec("single")
forget("single")
fresh = [importlib.util.find_spec("single") for _ in range(2)]
print(again == fresh[0], fresh[0] == fresh[1], again == stock, stock == again, again != importlib.util.find_spec("twice"))
print(again.loader == stock.loader, stock.loader == again.loader, hash(again.loader) == hash(stock.loader), again.loader == object())
for sent in pickle.loads(pickle.dumps(again)), copy.copy(again), copy.deepcopy(again):
    print(sent == again, sent.loader == again.loader, sent.loader.get_code("single") == again.loader.get_code("single"))

# A specification that was found before the source changed: the source decides when it is loaded.
spec = importlib.util.find_spec("both")
path = os.path.join(lib, "both", "__init__.py")
with open(path, encoding="utf-8") as file:
    text = file.read()
times = os.stat(path).st_mtime
with open(path, "w") as file:
    file.write("WHAT = 'changed'\n")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.WHAT)
# As it was, for the next run.
with open(path, "w", encoding="utf-8") as file:
    file.write(text)
os.utime(path, (times, times))

# Wrappers find the stock path finder where it always was, and it finds.
print([each.__name__ for each in sys.meta_path if each is PathFinder], PathFinder.find_spec("single").origin == single.__file__)
# Entries of other types, or none.
sys.path[:0] = [None, b"bytes", "", os.path.join(lib, ""), lib + "/."]
forget("single", "twice")
import single
import twice

print(single.__file__.replace(lib, "LIB"), twice.__file__.replace(lib, "LIB"), single.__spec__.origin == single.__file__)
