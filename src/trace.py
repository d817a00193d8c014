"""Tracing by pye: tells pye's trace directory which modules this process has when it ends, or what it runs, as it runs.

Runs as sitecustomize on CPython 2.7 and 3.6 up, and takes itself out of the way: off sys.path, off sys.modules, and the
sitecustomize that would have run is imported. It imports nothing that the interpreter has not loaded itself (2.7: but
atexit). A record is written when the process ends by itself, by os._exit or by replacing itself (os.exec*); a child made by
os.fork writes one at once, so that something is known if it is killed, and overwrites it when it ends.

With PYE_TRACE_PROFILE in the environment it writes a log instead, in the format of profiles (format-spec/profile.md), one for
each process. From CPython 3.12 on that is a line for each module and function when it first runs, so that a process
can be killed at any time, and at its end one for each function whose code was looked at; before, the modules alone, at
the moments named above.
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

    def describe(name, mod):
        """Name, the loader's type, the spec's origin, __file__, the spec's cached, whether it is a package."""
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
        return name, kind.__name__ if loader is not None else None, origin, file, cached, "__path__" in scope

    def modules():
        """What is in sys.modules, but for this one."""
        for name, mod in list(sys.modules.items()):
            if mod is not None and mod is not mine and isinstance(name, (str, string)):
                yield describe(name, mod)

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
            for fields in modules():
                package = "true" if fields[-1] else "false"
                lines.append("[" + ", ".join(text(f) for f in fields[:-1]) + ", %s]" % package)
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

    def profile():
        """Starts the log of what runs, and returns what stands in for `write`."""
        here, code_type = profile.__code__.co_filename, type(profile.__code__)
        monitoring = getattr(sys, "monitoring", None)
        fstat, append = os.fstat, os.write
        log = {}
        seen = set()

        def escape(value):
            return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")

        def foreign(error):
            """Whether an exception comes from the program: a handler of a signal that arrived just now."""
            place = getattr(error, "__traceback__", None)
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            return place is not None and place.tb_frame.f_code.co_filename != here

        def hold(file):
            """Keeps an open file, under a number that no program counts on getting."""
            for number in range(255, 127, -1):
                try:
                    fstat(number)
                except OSError:
                    try:
                        if monitoring is not None:
                            os.dup2(file, number, False)
                            os.close(file)
                            file = number
                    except OSError:
                        # Above the limit of this process.
                        pass
                    break
            status = fstat(file)
            log.update(file=file, identity=(status.st_dev, status.st_ino))

        def usable():
            """Whether the file is still open: a daemon closes all, and what it opens then may have the same number."""
            try:
                status = fstat(log["file"])
                return (status.st_dev, status.st_ino) == log["identity"]
            except (KeyError, OSError) as error:
                if foreign(error):
                    raise
                return False

        def create():
            """A log for this process. Names sort by birth; what shares the number of a process differs in the rest."""
            birth, pid = int(os.times()[4] * 100), state["getpid"]()
            path = os.path.join(directory, "%016x-%010d-%x.profile" % (birth, pid, id(state)))
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            head = "pye-profile\t1\nprocesses\t1\t%d\n" % (monitoring is not None)
            append(file, head.encode("ascii"))
            inherited = log["file"] if usable() else None
            log["path"] = path
            hold(file)
            if inherited is not None:
                os.close(inherited)
            if monitoring is None:
                os.close(log.pop("file"))

        def tell(kind, source, *fields):
            """Adds a line unless it is there. It is written at once: nothing is lost when the process is killed."""
            try:
                # Made anew in each life of a function: what comes from no file, and what the tracer itself does.
                if source == here or source[:1] == "<":
                    return
                if source[:1] != "/":
                    source = os.path.abspath(source)
                line = "\t".join([kind, "1", escape(source)] + [escape(f) for f in fields]) + "\n"
                if line in seen:
                    return
                data = line.encode("utf-8")
                if not usable():
                    hold(os.open(log["path"], os.O_WRONLY | os.O_APPEND))
                while data:
                    data = data[append(log["file"], data):]
                if monitoring is None:
                    os.close(log.pop("file"))
                seen.add(line)
            except (OSError, UnicodeError) as error:
                # No longer to be written (the directory is gone, the disk full), or a path or name that is not text: left out.
                if foreign(error):
                    raise

        def imported():
            for _, loader, origin, file, _, _ in modules():
                compiled = loader in ("BuiltinImporter", "FrozenImporter", "ExtensionFileLoader") or origin == "frozen"
                if not file or compiled or file.endswith(".so"):
                    continue
                if sys.version_info[0] == 2:
                    if file.endswith((".pyc", ".pyo")):
                        file = file[:-1]
                    if isinstance(file, str):
                        file = file.decode("utf-8", "replace")
                tell("module", file)

        def started(code, offset):
            if not isinstance(code, code_type):
                # From 3.13 on, C code can tell of functions of its own.
                pass
            elif code.co_name == "<module>":
                tell("module", code.co_filename)
            else:
                tell("function", code.co_filename, code.co_qualname, str(code.co_firstlineno))
            # One event for each code object.
            return monitoring.DISABLE

        def looked_at():
            """Functions whose code was asked for names of variables or instructions: the interpreter notes that in the code, as it does when it runs."""
            if "tool" in log:
                # What follows runs for the tracer, not for the program.
                monitoring.set_events(log["tool"], 0)
            try:
                import ctypes
                import gc
            except ImportError:
                return
            word = ctypes.sizeof(ctypes.c_void_p)

            def words(code):
                count = code_type.__basicsize__ // word
                return list((ctypes.c_size_t * count).from_address(id(code)))

            # Which field that is: the one that is empty in code that nobody has looked at.
            fresh = compile("0", here, "eval")
            before = words(fresh)
            fresh.co_varnames
            fields = [at for at, (old, new) in enumerate(zip(before, words(fresh))) if old == 0 and new != 0]
            if len(fields) != 1:
                return
            for item in gc.get_objects():
                if type(item) is type(looked_at):
                    code = item.__code__
                    if ctypes.c_size_t.from_address(id(code) + fields[0] * word).value:
                        tell("function", code.co_filename, code.co_qualname, str(code.co_firstlineno))

        def watch(avoid=None):
            # Not those that CPython names for debuggers, coverage and profilers.
            for tool in (4, 3, 5):
                if tool != avoid and monitoring.get_tool(tool) is None:
                    use_tool_id(tool, "pye")
                    monitoring.register_callback(tool, monitoring.events.PY_START, started)
                    monitoring.set_events(tool, monitoring.events.PY_START)
                    log["tool"] = tool
                    return

        def give_way(*args):
            """sys.monitoring.use_tool_id: a program that asks for the number the tracer has gets it."""
            tool = log.get("tool")
            if tool is not None and args[:1] == (tool,):
                monitoring.set_events(tool, 0)
                monitoring.register_callback(tool, monitoring.events.PY_START, None)
                monitoring.free_tool_id(tool)
                del log["tool"]
                watch(avoid=tool)
                # What was switched off for the tracer would be so for the new owner of the number.
                monitoring.restart_events()
            return use_tool_id(*args)

        def record(end):
            if end == "fork":
                try:
                    create()
                except OSError:
                    # Goes on with the parent's.
                    return
                seen.clear()
                # Tells anew what this process runs itself. The program's own tools would notice: then only what is new.
                if monitoring is not None:
                    tools = [monitoring.get_tool(tool) for tool in range(6) if tool != log.get("tool")]
                    if tools.count(None) == len(tools):
                        monitoring.restart_events()
            try:
                if monitoring is None:
                    imported()
                elif end != "fork":
                    looked_at()
            except Exception:
                # The traced program must not notice.
                pass

        try:
            create()
            imported()
        except Exception:
            return lambda end: None
        if monitoring is not None:
            use_tool_id = monitoring.use_tool_id
            give_way.__name__ = "use_tool_id"
            monitoring.use_tool_id = give_way
            watch()
        return record

    def forked():
        state["fork"] = True
        record("fork")

    def before(name, end):
        call = getattr(os, name)

        def wrapper(*args, **keywords):
            record(end)
            return call(*args, **keywords)

        wrapper.__name__ = name
        wrapper.__doc__ = call.__doc__
        setattr(os, name, wrapper)

    mine = sys.modules.get("sitecustomize")
    record = profile() if os.environ.get("PYE_TRACE_PROFILE") else write
    atexit.register(record, "exit")
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
