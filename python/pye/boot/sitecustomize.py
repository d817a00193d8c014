# Run by every interpreter below `pye run`, whatever its version, because its directory stands first on PYTHONPATH: activates
# pye with the packages that PYE_PACKAGES names, gets out of the way, and runs the sitecustomize it hides.
import os
import sys


def packages():
    # [ROOT=]STORE entries, joined by colons.
    for entry in os.environ.get("PYE_PACKAGES", "").split(":"):
        root, equals, store = entry.rpartition("=")
        if store:
            yield (root if equals else None), store


def activate():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if not isinstance(p, str) or os.path.abspath(p) != here]
    sys.path_importer_cache.pop(here, None)
    if sys.version_info < (3, 9):
        return
    # The package is found for this one import only: what else lies beside it is not the program's.
    place = os.path.dirname(os.path.dirname(here))
    sys.path.insert(0, place)
    try:
        import pye
    finally:
        sys.path.remove(place)
    pye.activate(list(packages()), origin="pye run")


try:
    activate()
except Exception:
    # The program runs all the same, from its .pyc files.
    pass

# Where there is none, site expects the ImportError.
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401
