"""Forks while it is being imported."""

import os

from imaged import hot

CHILD = os.fork()

from imaged import fails, functions  # noqa: E402

RESULT = functions.positional(1, 2), hot.arithmetic(3), fails.__doc__


def after():
    return functions.looped(30), "a constant of a module that has forked"
