"""The finder and the loaders: what the import system sees of pye.

The finder stands right before ``PathFinder`` on ``sys.meta_path`` and goes through the same directories in the same order. A
directory that a store covers, and that has not changed since it was linked, is answered from the store's index; every other one is
answered by the path entry finder that ``PathFinder`` would ask. Loaders are those of importlib but for ``get_code``, which takes the code
from the store, and ``exec_module``, both native; whenever that cannot be done they do what their base class does.
"""

import os
import sys

# Of modules that are always loaded. This file is imported while some other module is being looked for, which may be `importlib`: that
# would then be loaded twice.
import _frozen_importlib_external
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import (
    BYTECODE_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from _imp import extension_suffixes
from zipimport import zipimporter

from pye import _Activation, _ended
from pye._native import BeforeFork, LoaderBase, Packages

# What pye does in place of the stock import system, and leaves to it as soon as a program has put something else there.
_FIND_SPEC = PathFinder.__dict__["find_spec"]
_GET_CODE, _EXEC_MODULE = SourceFileLoader.get_code, SourceFileLoader.exec_module
_GENUINE = all(function.__globals__ is vars(_frozen_importlib_external) for function in (_FIND_SPEC.__func__, _GET_CODE, _EXEC_MODULE))

_path_entry_finder = PathFinder._path_importer_cache

# What a path entry finder of the stock import system looks for, in its order.
_STOCK = FileFinder(
    ".",
    (ExtensionFileLoader, extension_suffixes()),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)._loaders


def _is_stock(finder):
    return type(finder) is FileFinder and finder._loaders == _STOCK


def _are_stock(hooks):
    """Whether the first of the path hooks that takes directories is the stock one."""
    for hook in hooks:
        if hook is not zipimporter:
            try:
                return _is_stock(hook("/"))
            except Exception:
                # Not its path. Whatever else it raises, it will raise again when the stock finder asks.
                return False
    return False


def _is_replaced():
    """Whether a program has put something in the place of what pye stands in for."""
    return not (
        _GENUINE
        and PathFinder.__dict__.get("find_spec") is _FIND_SPEC
        and SourceFileLoader.get_code is _GET_CODE
        and SourceFileLoader.exec_module is _EXEC_MODULE
    )


class Loader(LoaderBase, SourceFileLoader):
    """Loads a module that has a source file, as ``SourceFileLoader`` does, with its code from a store."""

    def __init__(self, fullname, path, packages, store, number):
        # As SourceFileLoader's, without the call.
        self.name = fullname
        self.path = path
        self._packages = packages
        self._store = store
        self._number = number
        # The spec with which the finder has just held the module against its source.
        self._found = None

    def __eq__(self, other):
        # As importlib's, which compare all they have; and with one of these, which the stock finder makes for the same module.
        if type(other) is Loader or type(other) is SourceFileLoader:
            return self.name == other.name and self.path == other.path
        return NotImplemented

    __hash__ = SourceFileLoader.__hash__

    def __reduce__(self):
        # What another process, or a copy, can do without this one's stores.
        return SourceFileLoader, (self.name, self.path)


class Finder:
    """Finds modules in stores; one object for the process."""

    def __init__(self, native, packages=(), log=lambda text: None):
        """Opens ``packages``, pairs of a root (or None) and a store's path. Beside the standard library's, which every program imports from,
        others wait until something is found below their roots, or the process forks, for to open one takes as long as to import a small
        module. ``log`` takes a line of text.
        """
        self._packages = native
        self._log = log
        self._find = native.find
        self._hooks = None
        self._stock = False
        # What could not be opened, as pairs of a path and a reason.
        self.refused = []
        self._waiting = {}
        library = os.path.dirname(getattr(os, "__file__", ""))
        beside = any(root == library for root, _ in packages)
        for root, path in packages:
            if beside and root and root[0] == "/" and root != library:
                self._waiting.setdefault(root.rstrip("/"), []).append(path)
            else:
                self._open(root, path)

    def _open(self, root, path):
        try:
            self._packages.open(root, path, sys.path)
        except Exception as error:
            # An import is under way, whoever asks for it.
            reason = str(error) if isinstance(error, OSError) else "%s: %s" % (type(error).__name__, error)
            self.refused.append((path, reason))
            self._log("not used: %s: %s" % (path, reason))

    def open_for(self, place=None):
        """Opens the stores that wait and whose root is above ``place``; without one, all. None once the interpreter is about to end."""
        if _ended:
            return
        for root in list(self._waiting):
            if place is None or place.startswith(root + "/"):
                # Two threads can be here.
                for path in self._waiting.pop(root, ()):
                    self._open(root, path)

    def find_spec(self, fullname, path=None, target=None):
        """As ``PathFinder.find_spec``. None where that one should decide."""
        if not self._is_next() or _is_replaced():
            return None
        if path is None:
            path = sys.path
        find = self._find
        finders = sys.path_importer_cache
        # What the stock finder of a directory depends on; suffixes can be added.
        if (sys.path_hooks, SOURCE_SUFFIXES, BYTECODE_SUFFIXES) != self._hooks:
            self._stock = _are_stock(sys.path_hooks)
            self._hooks = (sys.path_hooks[:], SOURCE_SUFFIXES[:], BYTECODE_SUFFIXES[:])
        name = fullname.rpartition(".")[2]
        for entry in path:
            if type(entry) is not str:
                return None
            # A store stands for the stock finder of its directory, not for one that somebody put there.
            finder = finders.get(entry, self)
            found = None
            if self._stock if finder is self else _is_stock(finder):
                try:
                    found = find(entry, name)
                except UnicodeError:
                    # A directory or a name that is not UTF-8.
                    return None
            if type(found) is tuple:
                return self._spec(fullname, found)
            if found is False:
                continue
            if found is not None:
                loader = ExtensionFileLoader(fullname, found)
                spec = ModuleSpec(fullname, loader, origin=found)
                spec.has_location = True
                return spec
            finder = _path_entry_finder(entry)
            if finder is None:
                continue
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is None:
                return None
            spec = find_spec(fullname, target)
            if spec is None:
                continue
            if spec.loader is None:
                # A portion of a namespace package: whether there are more is for PathFinder to say.
                return None
            # One that has got more than its name and its path is somebody's own.
            if type(spec.loader) is SourceFileLoader and len(vars(spec.loader)) == 2:
                self._supply(spec)
            return spec
        return None

    def _is_next(self):
        """Whether nobody stands between this finder and ``PathFinder``, or it is asked without standing on ``sys.meta_path``."""
        following = iter(sys.meta_path)
        for finder in following:
            if finder is self:
                break
        else:
            return True
        for finder in following:
            if type(finder) is not Finder and type(finder) is not _Activation:
                return finder is PathFinder
        return False

    def _spec(self, fullname, found):
        store, number, package, origin, cached = found
        loader = Loader(fullname, origin, self._packages, store, number)
        spec = ModuleSpec(fullname, loader, origin=origin)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        if sys.pycache_prefix is None:
            spec.cached = cached
        loader._found = spec
        return spec

    def _supply(self, spec):
        """Gives the spec that a stock finder made a loader that takes its code from a store, where one has it."""
        # Of the loader, not the spec: what makes a spec may leave out its origin.
        name, path = spec.loader.name, spec.loader.path
        try:
            if self._waiting:
                self.open_for(path)
            found = self._packages.supply(path)
        except (AttributeError, TypeError, UnicodeError):
            # Not text, or not UTF-8.
            return
        if found is not None:
            spec.loader = Loader(name, path, self._packages, found[0], found[1])
            spec.loader._found = spec

    def invalidate_caches(self):
        """Looks at directories again when they are next used."""
        self._packages.invalidate()


def install(packages, log):
    """The finder of a process, for ``packages``; see ``Finder``."""
    native = Packages()
    native.keep_at_end()
    finder = Finder(native, packages, log)
    os.register_at_fork(before=BeforeFork(native, finder))
    return finder
