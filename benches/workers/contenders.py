"""Who is compared: one line each."""
from dataclasses import dataclass

# In `container`, as in `spawn`, each worker is started by itself, but with a root file system of its own.
MODES = ("fork", "preload", "spawn", "container")
ALONE = ("spawn", "container")


@dataclass(frozen=True)
class Contender:
    """A way to run the same program.

    name    for options and tables
    way     how modules come to be loaded: a function of ways.py
    modes   the launch modes that it is measured in
    freeze  preload with gc.freeze() before the fork
    ksm     the kernel is asked to merge equal pages of all processes (PR_SET_MEMORY_MERGE)
    what    for people
    """

    name: str
    way: str
    modes: tuple
    freeze: bool
    ksm: bool
    what: str


ALL = [
    Contender("stock", "stock", MODES, False, False, "CPython's import from .pyc"),
    Contender("-OO", "oo", MODES, False, False, "python -OO: no docstrings, no assertions"),
    Contender("freeze", "stock", ("preload",), True, False, "gc.freeze() between preload and fork"),
    Contender("ksm", "stock", MODES, False, True, "the kernel merges equal pages (KSM)"),
    Contender("freeze+ksm", "stock", ("preload",), True, True, "both"),
    Contender("zip", "zip", MODES, False, False, "zipimport of site-packages in one zip, stored"),
    Contender("pycds", "pycds", MODES, False, False, "code-data-share: an image of code objects"),
    Contender("pycds+freeze", "pycds", ("preload",), True, False, "code-data-share, and gc.freeze() between preload and fork"),
    Contender("pye", "pye", MODES, False, False, "pye run, portable form"),
    Contender("pye+freeze", "pye", ("preload",), True, False, "pye run, and gc.freeze() between preload and fork"),
    Contender("pye+ksm", "pye", MODES, False, True, "pye run, and KSM"),
    Contender("pye+freeze+ksm", "pye", ("preload",), True, True, "all three"),
    Contender("pye-image", "pye-image", MODES, False, False, "pye run, code objects mapped (pye link --image)"),
    Contender("pye-image+freeze", "pye-image", ("preload",), True, False, "pye-image, and gc.freeze() between preload and fork"),
    Contender("pye-image-unprofiled", "pye-image-unprofiled", MODES, False, False, "pye-image, not laid out by a profile of use"),
    Contender("pye-image+ksm", "pye-image", MODES, False, True, "pye-image, and KSM"),
]
