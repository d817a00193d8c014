"""Imported by the module that it imports."""

import imaged.cyclic_a

B = "b"


def both():
    return imaged.cyclic_a.A, B
