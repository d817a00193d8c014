u"""A module that is compiled to the seeds: one of each kind of constant."""
import os

NUMBERS = (0, 1 << 31, -(1 << 70), 1.5, 2j, True, None, Ellipsis)
TEXT = u"ascii, and \xe9, \u20ac, \U0001f40d"
BYTES = b"bytes"


class Class(object):
    """Its docstring."""

    def method(self, key=1, *args, **kwargs):
        try:
            return [x for x in args if x in {1, 2, "three"}]
        except ValueError:
            return lambda: (key, os.name, self)
