"""Is asked for by reloading scripts: counts how often its body has run."""

import sys

TIMES = getattr(sys, "_times_of_switched", 0) + 1
sys._times_of_switched = TIMES


def answer():
    return "a constant of the function", TIMES, frozenset_of(TIMES)


def frozenset_of(value):
    return value in {1, 2, 3, "members of a set"}


class Kept:
    def method(self):
        return "a constant of a method", __class__.__name__
