"""Loads packages that were changed: in a process of its own for each, which may not die and may not give wrong modules.

    load.py ROOT    reads the path of a package of ROOT in each line, answers with a line of JSON

An answer: {"status": how the process ended, 0 for well, as of waitpid; and either "refused": why it was not opened, or
"equal", "left": numbers of modules that are those of stock Python, and that are left to it; "found": what is found that stock Python does
not find; "code": whose code is another}
"""

import gc
import importlib.machinery
import json
import os
import signal
import sys

# After so many seconds of one package it hangs.
PATIENCE = 60

root = sys.argv[1]
sys.path.insert(0, os.environ["PYE_TEST_SITE"])
from pye import _finder  # noqa: E402
from pye._native import Packages  # noqa: E402

del sys.path[0]


def names():
    """The modules below the root, and some that there are not: pairs of a dotted name and the directory it is looked for in."""
    for directory, directories, files in os.walk(root):
        directories[:] = sorted(name for name in directories if name != "__pycache__")
        package = os.path.relpath(directory, root).split(os.sep) if directory != root else []
        found = [name[:-3] for name in files if name.endswith(".py") and name not in ("__init__.py", "__main__.py")]
        found += [name for name in directories if os.path.exists(os.path.join(directory, name, "__init__.py"))]
        for name in sorted(set(found)) + ["nothing", "__init__"]:
            yield ".".join([*package, name]), directory


def described(spec):
    """What a module's spec says, the loader of its code apart."""
    kind = type(spec.loader)
    kind = importlib.machinery.SourceFileLoader if kind is _finder.Loader else kind
    return kind, spec.name, spec.origin, spec.submodule_search_locations, spec.cached, spec.has_location


def facts(code):
    """What the comparison of code objects passes over."""
    inner = [facts(constant) for constant in code.co_consts if isinstance(constant, type(code))]
    return code.co_filename, code.co_firstlineno, code.co_stacksize, code.co_flags, [type(each) for each in code.co_consts], inner


def stock():
    """What stock Python finds and loads."""
    expected = {}
    for name, directory in names():
        spec = importlib.machinery.PathFinder.find_spec(name, [directory])
        source = spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader
        code = spec.loader.get_code(name) if source else None
        expected[name, directory] = spec and described(spec), code, code and facts(code)
    assert sum(code is not None for _, code, _ in expected.values()) > 5, expected
    return expected


def used(path, expected):
    """In a child: opens the package and compares all that it gives."""
    native = Packages()
    try:
        native.open(root, path, [])
    except OSError as error:
        return {"refused": str(error) or "without a reason"}
    finder = _finder.Finder(native)
    equal, left, otherwise, code_of = 0, 0, [], []
    for (name, directory), (spec, code, told) in expected.items():
        found = finder.find_spec(name, [directory])
        # What it does not find PathFinder looks for.
        if found is not None and described(found) != spec:
            otherwise.append("%s: %r" % (name, found))
        elif found is None or type(found.loader) is not _finder.Loader:
            left += code is not None
        else:
            before = native.status()["stores"][0]
            got = found.loader.get_code(name)
            after = native.status()["stores"][0]
            if got != code or facts(got) != told:
                code_of.append(name)
            elif after["loaded"] > before["loaded"]:
                equal += 1
            else:
                left += 1
    del finder, native
    gc.collect()
    return {"equal": equal, "left": left, "found": otherwise, "code": code_of}


def in_child(path, expected):
    """What `used` said, and how the child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(PATIENCE)
        status = 1
        try:
            answer = used(path, expected)
            status = 0
        except BaseException as error:
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return dict(json.loads(said) if said else {}, status=status)


def main():
    expected = stock()
    for line in sys.stdin:
        print(json.dumps(in_child(line.rstrip("\n"), expected)), flush=True)


main()
