"""Activates pye for one process and its children as an installation would, from PYE_TEST_SITE with the packages of
PYE_TEST_PACKAGES (ROOT=FILE, joined by colons), and gets out of the way.

When the process ends, what the loader did is appended to PYE_TEST_STATUS, one line of JSON a process.
"""

import os
import sys


def activate():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    sys.path.insert(0, os.environ["PYE_TEST_SITE"])
    try:
        from pye import _finder
    finally:
        del sys.path[0]
    pairs = [entry.split("=") for entry in os.environ["PYE_TEST_PACKAGES"].split(":") if entry]
    finder, refused = _finder.install(pairs, "test")
    names = [getattr(each, "__name__", None) for each in sys.meta_path]
    sys.meta_path.insert(names.index("PathFinder"), finder)
    status = os.environ.get("PYE_TEST_STATUS")
    if status:
        import atexit

        def report():
            told = dict(finder._packages.status(), refused=refused, argv=sys.argv)
            import json

            line = json.dumps(told, default=os.fspath)
            with open(status, "a") as file:
                file.write(line + "\n")

        atexit.register(report)


try:
    activate()
except ImportError:
    # What pye says in an interpreter that it does not serve.
    if "PYE_TEST_UNSERVED" not in os.environ:
        raise
# Where there is none, `site` expects the ImportError.
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401
