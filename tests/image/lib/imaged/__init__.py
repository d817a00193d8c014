"""Modules whose code the image holds: small, and each with something that an image can get wrong.

This docstring is long enough to be text in the blob sections, of which the image holds only the header.
"""

NAME = __name__
# Those that can be imported in any order without doing anything.
QUIET = ["constants", "functions", "hot", "fails", "classes", "names", "text", "awaits", "cyclic_a", "cyclic_b", "generic"]
