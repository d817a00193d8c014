"""Imports modules from pye packages: files whose constants are mapped, not read, so that processes share them.

Every start of an interpreter for which pye is installed pays for this file. So it does next to nothing: the packages are opened, and the
native code is loaded, by the first import that could be served from them.
"""

import atexit
import os
import sys

__all__ = ["LoadError", "activate", "activate_installed", "dump", "load", "status"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native import LoadError, dump, load

# Not worth opening the packages: pye itself, and what interpreters look for at every start (linecache: from 3.13 on, with -c).
_NOT_SERVED = ("pye", "sitecustomize", "usercustomize", "linecache")

_activations = []
# Not empty once the interpreter is about to end.
_ended = []


def __getattr__(name):
    """What only the native code has, which is loaded when it is asked for."""
    if name in ("LoadError", "dump", "load"):
        from . import _native

        return getattr(_native, name)
    raise AttributeError("module %r has no attribute %r" % (__name__, name))


class _Activation:
    """Stands on ``sys.meta_path`` until the first import that could be served, then the finder takes its place.

    Where that fails it stays, finds nothing, and says why: to take it out would make the import under way skip the next finder.
    """

    def __init__(self, origin, packages):
        self.origin = origin
        self.packages = packages
        self.state = "waiting"
        self.reason = None
        self.finder = None
        # Taken by the thread that opens the packages. Meanwhile it, and all others, import as ever.
        self._turn = [True]

    def find_spec(self, fullname, path=None, target=None):
        if self.state == "off" or fullname.partition(".")[0] in _NOT_SERVED:
            return None
        if self.state == "waiting":
            self.open()
        # A program that puts a copy of sys.meta_path back may have this one there again.
        if self.finder is None:
            return None
        return self.finder.find_spec(fullname, path, target)

    def open(self):
        try:
            self._turn.pop()
        except IndexError:
            return
        try:
            self.reason = "the interpreter is about to end" if _ended else _unsuitable()
            if self.reason is None:
                if self.packages is None:
                    self.packages = _installed()
                from . import _finder

                finder = _finder.install(self.packages, _log)
                sys.meta_path[sys.meta_path.index(self)] = finder
                self.finder = finder
        except Exception as error:
            self.reason = "%s: %s" % (type(error).__name__, error)
        self.state = "active" if self.reason is None else "off"
        _log("%s by %s: %s" % (self.state, self.origin, self.reason or "%d packages" % len(self.packages)))


def activate(packages, *, origin):
    """Has modules imported from ``packages``: pairs of a directory on ``sys.path`` (or None, to have it found) and the package file,
    or directory of files, that stands for it. What cannot be served is imported as ever. ``origin`` says who asks.
    """
    _activate(origin, list(packages))


def activate_installed():
    """Activates what ``pye install`` has written for this installation."""
    _activate("pye install", None)


def status():
    """What pye does in this process, what it does not do and why. Opens the packages that nothing has been imported from yet."""
    activations = []
    for each in _activations:
        if each.state == "waiting":
            each.open()
        if each.finder is not None:
            each.finder.open_for()
        activations.append({
            "origin": each.origin,
            "state": each.state,
            "reason": each.reason,
            "packages": each.packages or [],
            "refused": each.finder.refused if each.finder is not None else [],
            "loaded": each.finder._packages.status() if each.finder is not None else None,
        })
    return {
        "package": os.path.dirname(os.path.abspath(__file__)),
        "unsuitable": _unsuitable(),
        "switched_off": os.environ.get("PYE") == "0",
        "activations": activations,
    }


def _activate(origin, packages):
    if os.environ.get("PYE") == "0":
        _log("off: PYE=0")
        return
    # A .pth is executed again by site.addsitedir.
    if any(each.origin == origin and (packages is None or each.packages == packages) for each in _activations):
        return
    for index, finder in enumerate(sys.meta_path):
        if getattr(finder, "__name__", None) == "PathFinder":
            break
    else:
        _log("off: no PathFinder on sys.meta_path to stand in for")
        return
    # Those that were activated last decide first.
    for each in _activations:
        for place, finder in enumerate(sys.meta_path):
            if finder is each or finder is each.finder:
                index = min(index, place)
    if not _activations:
        # Called after what programs register. No function of Python's: tools that watch the program would see it run.
        atexit.register(_ended.append, True)
    activation = _Activation(origin, packages)
    sys.meta_path.insert(index, activation)
    _activations.append(activation)


def _unsuitable():
    """Why this interpreter cannot be served."""
    if sys.implementation.name != "cpython":
        return "not CPython but %s" % sys.implementation.name
    if not (3, 9) <= sys.version_info[:2] <= (3, 15):
        return "not CPython 3.9 to 3.15 but %d.%d" % sys.version_info[:2]
    if "t" in getattr(sys, "abiflags", ""):
        return "a free-threaded build"
    return None


def _installed():
    """The manifest: lines ROOT<TAB>FILE, relative to the prefix and to the manifest."""
    directory = os.path.join(sys.prefix, "share", "pye")
    with open(os.path.join(directory, "manifest"), "rb") as file:
        lines = os.fsdecode(file.read()).split("\n")
    pairs = [line.partition("\t") for line in lines if line]
    return [(os.path.join(sys.prefix, root), os.path.join(directory, name)) for root, _, name in pairs]


def _log(text):
    """One line, to where PYE_LOG says."""
    target = os.environ.get("PYE_LOG")
    if not target:
        return
    line = os.fsencode("pye[%d]: %s\n" % (os.getpid(), text))
    try:
        if target == "stderr":
            os.write(2, line)
        else:
            file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(file, line)
            finally:
                os.close(file)
    except OSError:
        pass
