"""Which pye is measured."""
import sys

from environment import CannotMeasure

# The command line lives in the Python package, too. The package's directory is taken from the arguments so that children do not
# have it on their sys.path, as PYTHONPATH would do.
STAGED = "import sys; sys.path.insert(0, sys.argv.pop(1)); from pye.__main__ import main; sys.exit(main())"


def find(given, checkout):
    """The command that is pye, as a list: the program `given`, else what python/stage has laid out in the checkout, else None."""
    if given is not None:
        if not given.exists():
            raise CannotMeasure("--pye %s: no such file" % given)
        return [str(given.absolute())]
    site = checkout / "target" / "site"
    return [sys.executable, "-c", STAGED, str(site)] if (site / "pye" / "_native.abi3.so").exists() else None
