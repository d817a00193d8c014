"""Finders and hooks that programs put beside those of Python keep their say: the same printed under pye as without.

    finders.py DIRECTORY    a directory outside sys.path, with edited.py
"""

import sys

# As it is before anything is looked for.
first = sys.meta_path[:]

import copy
import importlib
import importlib.util
import os
import pickle
import site
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, PathFinder, SourceFileLoader

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

# What a program puts in the place of what pye stands in for has its say from then on, and no longer than it is there.
sys.path[:] = [entry for entry in sys.path if type(entry) is str]


def look(what):
    forget("single")
    try:
        import single
    except ImportError as error:
        return print(what, type(error).__name__, error)
    print(what, single.WHO, single.__dict__.pop("BY", None))


class Between:
    @staticmethod
    def find_spec(fullname, path=None, target=None):
        print("between", fullname)


place = sys.meta_path.index(PathFinder)
sys.meta_path.insert(place, Between)
look("one between")
sys.meta_path.remove(Between)


class Replacing(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        print("instead", fullname)
        return super().find_spec(fullname, path, target)


sys.meta_path[place] = Replacing
look("another instead")
del sys.meta_path[place]
look("none")
sys.meta_path.insert(place, PathFinder)
original = PathFinder.__dict__["find_spec"]
PathFinder.find_spec = classmethod(lambda cls, *arguments: print("patched", arguments[0]) or original.__func__(cls, *arguments))
look("patched finder")
PathFinder.find_spec = original
get_code, exec_module = SourceFileLoader.get_code, SourceFileLoader.exec_module
SourceFileLoader.get_code = lambda self, name: print("code of", name) or get_code(self, name)
look("patched get_code")
del SourceFileLoader.get_code


def executed(self, module):
    exec_module(self, module)
    module.BY = "patched"


SourceFileLoader.exec_module = executed
look("patched exec_module")
del SourceFileLoader.exec_module
look("as it was")


# A loader that is somebody's own by what it has been given.
class Marking:
    def __init__(self, entry):
        if entry != "marking:":
            raise ImportError

    def find_spec(self, fullname, target=None):
        spec = FileFinder(lib, (SourceFileLoader, [".py"])).find_spec(fullname)
        if spec is not None:
            spec.loader.mark = "mine"
        return spec


sys.path_hooks.append(Marking)
sys.path.insert(0, "marking:")
look("marked")
print(sys.modules["single"].__loader__.mark)
sys.path.remove("marking:")


# Hooks are for entries of sys.path; what one raises for others nobody hears.
def picky(entry):
    if entry == "/":
        raise PermissionError(entry)
    raise ImportError


sys.path_hooks.insert(0, picky)
look("picky hook")
sys.path_hooks.remove(picky)
look("no picky hook")
SOURCE_SUFFIXES.append(".own")
sys.path_importer_cache.clear()
look("more suffixes")
SOURCE_SUFFIXES.remove(".own")
sys.path_importer_cache.clear()
# Not UTF-8.
sys.path.insert(0, "\udce9")
look("bytes that are no text")

# sys.meta_path as it was before.
sys.meta_path[:] = first
look("restored")
if "pye" in sys.modules:
    assert type(sys.modules["single"].__loader__).__module__ == "pye._finder"
