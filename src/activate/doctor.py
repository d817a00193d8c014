"""Run by `pye doctor` in the interpreter it examines, in place of the program: [-c CODE | -m MODULE | SCRIPT | nothing] ARGUMENT...

Writes what pye says of this process, after the program if there is one, as JSON to the file that the first argument names.
"""
import sys


def examine(runtime=runtime):
    import os
    import sys

    flags = sys.flags
    file, start = runtime() or (None, None)
    report = {
        "executable": sys.executable,
        "implementation": getattr(getattr(sys, "implementation", None), "name", "cpython"),
        "version": list(sys.version_info[:3]),
        "build": sys.version.replace("\n", " "),
        "debug": hasattr(sys, "gettotalrefcount"),
        "gil": "t" not in getattr(sys, "abiflags", ""),
        "prefix": sys.prefix,
        # Python 2 has text as bytes.
        "runtime": None if file is None else getattr(os, "fsdecode", str)(file),
        "runtime_start": start,
        "no_site": bool(flags.no_site),
        "ignore_environment": bool(flags.ignore_environment),
        "switched_off": os.environ.get("PYE") == "0",
        "environment": os.environ.get("PYE_PACKAGES"),
        "pth": None,
        "manifest": os.path.exists(os.path.join(sys.prefix, "share", "pye", "manifest")),
        "status": None,
        "error": None,
    }
    for entry in sys.path:
        file = os.path.join(entry, "pye.pth")
        if os.path.exists(file):
            report["pth"] = file
    pye = sys.modules.get("pye")
    if pye is not None:
        try:
            report["status"] = pye.status()
        except Exception as error:
            report["error"] = "%s: %s" % (type(error).__name__, error)
    return report


def main():
    import os

    target, program = sys.argv[1], sys.argv[2:]
    # What `-c` puts there, unless told not to: each kind of program has a place of its own.
    first = sys.path[:1] == [""]

    def report(examine=examine):
        text = examine()
        import json

        with open(target, "wb") as file:
            # Paths that are not UTF-8 are for people to recognise.
            file.write(json.dumps(text, ensure_ascii=False, default=repr).encode("utf-8", "replace"))

    if not program:
        del sys.path[:first]
        report()
        return
    import atexit
    import runpy

    # First in, last out: after what the program registers.
    atexit.register(report)
    if program[0] == "-c":
        sys.argv[:] = ["-c"] + program[2:]
        scope = sys.modules["__main__"].__dict__
        for name in ("examine", "main", "runtime", "sys"):
            del scope[name]
        exec(compile(program[1], "<string>", "exec"), scope)
    elif program[0] == "-m":
        sys.argv[:] = program[1:]
        if first:
            sys.path[0] = os.getcwd()
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = program
        if first:
            sys.path[0] = os.path.dirname(os.path.realpath(program[0]))
        runpy.run_path(program[0], run_name="__main__")


main()
