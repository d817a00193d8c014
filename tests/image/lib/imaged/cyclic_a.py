"""Imports a module that imports it."""

from imaged import cyclic_b

A = "a"


def both():
    return A, cyclic_b.B
