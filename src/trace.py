"""Import tracing by pye: tells pye's trace directory which modules this process has when it ends.

Runs as sitecustomize on CPython 2.7 and 3.6 up, and takes itself out of the way: off sys.path, off sys.modules, and the
sitecustomize that would have run is imported. It imports nothing that the interpreter has not loaded itself (2.7: but
atexit). A record is written when the process ends by itself, by os._exit or by replacing itself (os.exec*); a child made by
os.fork writes one at once, so that something is known if it is killed, and overwrites it when it ends.
"""
import sys


def _pye_trace():
    import atexit
    import os

    directory = os.environ.get("PYE_TRACE_DIR")
    if not directory:
        return
    state = {"getpid": os.getpid, "fork": False}
    # A process that replaces itself keeps its number: the time, in ticks since boot, tells the two apart.
    start = "%x-%x" % (int(os.times()[4] * 100), id(state))

    def text(value):
        """A JSON string, one character a byte of the file system encoding or UTF-8."""
        if value is None:
            return "null"
        if not isinstance(value, bytes):
            try:
                value = os.fsencode(value)
            except (AttributeError, UnicodeError):
                try:
                    value = value.encode("utf-8")
                except UnicodeError:
                    value = value.encode("ascii", "backslashreplace")
        plain = ["\\u%04x" % b if b < 32 or b > 126 or b in (34, 92) else chr(b) for b in bytearray(value)]
        return '"' + "".join(plain) + '"'

    string = type(u"")
    optimize = sys.flags.optimize

    def path(value):
        return value if isinstance(value, (str, string)) else None

    def module(name, mod):
        # Past any __getattr__ or property that a module object may have: those could import.
        try:
            scope = object.__getattribute__(mod, "__dict__")
        except (AttributeError, TypeError):
            scope = {}
        spec = scope.get("__spec__")
        file = path(scope.get("__file__"))
        loader = scope.get("__loader__")
        if spec is not None:
            loader = getattr(spec, "loader", None) or loader
            cached = path(getattr(spec, "cached", None))
            origin = path(getattr(spec, "origin", None))
        else:
            cached = path(scope.get("__cached__"))
            origin = None
        if sys.version_info[0] == 2 and file is not None:
            if file.endswith((".pyc", ".pyo")):
                cached = file
            elif file.endswith(".py"):
                cached = file + ("o" if optimize else "c")
        elif sys.version_info[0] == 2 and name in sys.builtin_module_names:
            origin = "built-in"
        kind = loader if isinstance(loader, type) else type(loader)
        fields = (name, kind.__name__ if loader is not None else None, origin, file, cached)
        return "[" + ", ".join(text(f) for f in fields) + ", %s]" % ("true" if "__path__" in scope else "false")

    def caches():
        """Bytes of what the finders of directories that are not on sys.path themselves know of them: names of files."""
        total = 0
        try:
            for place, finder in list(sys.path_importer_cache.items()):
                names = getattr(finder, "_path_cache", None)
                if isinstance(names, set) and place not in sys.path:
                    for item in [names] + list(names):
                        total += (sys.getsizeof(item) + 15) // 16 * 16
        except TypeError:
            # PyPy has no sys.getsizeof.
            pass
        return total

    def write(end):
        try:
            pid = state["getpid"]()
            argv = getattr(sys, "argv", [])
            lines = []
            for name, mod in list(sys.modules.items()):
                if mod is not None and mod is not mine and isinstance(name, (str, string)):
                    lines.append(module(name, mod))
            body = '{"pid": %d, "parent": %d, "version": [%d, %d], "implementation": %s, "gil": %s, "debug": %s, ' % (
                pid,
                os.getppid(),
                sys.version_info[0],
                sys.version_info[1],
                text(getattr(getattr(sys, "implementation", None), "name", None) or sys.subversion[0].lower()),
                "false" if "t" in getattr(sys, "abiflags", "") else "true",
                "true" if hasattr(sys, "gettotalrefcount") else "false",
            )
            body += '"caches": %d, ' % caches()
            body += '"forked": %s, "end": %s, "directory": %s, "executable": %s, "argv": [%s], "modules": [\n%s\n]}\n' % (
                "true" if state["fork"] else "false",
                text(end),
                text(os.getcwd()),
                text(sys.executable),
                ", ".join(text(a) for a in argv if isinstance(a, (str, string))),
                ",\n".join(lines),
            )
            target = os.path.join(directory, "%d-%s.json" % (pid, start))
            # os.open: the program may have replaced open.
            file = os.open(target + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                body = body.encode("ascii")
                while body:
                    body = body[os.write(file, body):]
            finally:
                os.close(file)
            os.rename(target + ".part", target)
        except Exception:
            # The traced program must not notice: pye says what is missing.
            pass

    def forked():
        state["fork"] = True
        write("fork")

    def before(name, end):
        call = getattr(os, name)

        def wrapper(*args, **keywords):
            write(end)
            return call(*args, **keywords)

        wrapper.__name__ = name
        wrapper.__doc__ = call.__doc__
        setattr(os, name, wrapper)

    mine = sys.modules.get("sitecustomize")
    atexit.register(write, "exit")
    before("_exit", "_exit")
    # The other os.exec* functions call these two.
    before("execv", "exec")
    before("execve", "exec")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)
    elif hasattr(os, "fork"):
        fork = os.fork

        def wrapper():
            child = fork()
            if child == 0:
                forked()
            return child

        os.fork = wrapper

    # Out of the way, and let the sitecustomize run that this one hides.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if not isinstance(p, (str, string)) or os.path.abspath(p) != here]
    sys.path_importer_cache.pop(here, None)
    sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize
    except ImportError:
        # The import under way needs a module of this name; write() leaves it out. Other errors go to site, as they would.
        if sys.exc_info()[1] is not None and "sitecustomize" not in str(sys.exc_info()[1]):
            raise
    finally:
        sys.modules.setdefault("sitecustomize", mine)


try:
    _pye_trace()
finally:
    del _pye_trace
