"""Activates pye for one process and its children, from PYE_TEST_SITE with the packages of PYE_TEST_PACKAGES (ROOT=FILE, joined by
colons), and gets out of the way.

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
        import pye
    finally:
        del sys.path[0]
    pairs = [tuple(entry.split("=")) for entry in os.environ["PYE_TEST_PACKAGES"].split(":") if entry]
    pye.activate(pairs, origin="test")
    status = os.environ.get("PYE_TEST_STATUS")
    if status:
        import atexit

        def report():
            told = pye.status()["activations"][0]
            import json

            line = json.dumps(dict(told, argv=sys.argv), default=os.fspath)
            with open(status, "a") as file:
                file.write(line + "\n")

        atexit.register(report)


activate()
# Where there is none, `site` expects the ImportError.
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401
