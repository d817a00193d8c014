"""Run by ``python -m imaged``."""

import sys

from . import functions

print("main", __name__, __package__, __spec__.name, sys.argv[1:], functions.positional(1, 2))
