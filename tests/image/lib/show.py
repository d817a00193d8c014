"""How the scripts print: the same text for the same values, whatever the process."""

import re
import struct
import types

# co_lnotab: deprecated, made of the line table.
FIELDS = [
    name
    for name in sorted(dir(types.CodeType))
    if name.startswith(("co_", "_co_")) and name != "co_lnotab" and not callable(getattr(types.CodeType, name))
]


def show(*what):
    print(*(plain(str(each)) for each in what), flush=True)


def plain(text):
    """Without addresses."""
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x…", text)


def describe(value, fields=FIELDS):
    """A value with its type, all the way down. Members of sets are sorted: their order depends on hashes."""
    if isinstance(value, types.CodeType):
        parts = ["%s=%s" % (name, describe(getattr(value, name), fields)) for name in fields]
        parts += ["positions=%s" % list(value.co_positions()), "lines=%s" % list(value.co_lines())]
        return "code(%s)" % "\n  ".join(parts)
    if isinstance(value, tuple):
        return "tuple(%s)" % ", ".join(describe(each, fields) for each in value)
    if isinstance(value, frozenset):
        return "%s{%s}" % (type(value).__name__, ", ".join(sorted(describe(each, fields) for each in value)))
    if isinstance(value, slice):
        return "slice(%s)" % describe((value.start, value.stop, value.step), fields)
    if isinstance(value, float):
        return "float(%s)" % struct.pack(">d", value).hex()
    if isinstance(value, complex):
        return "complex(%s)" % struct.pack(">dd", value.real, value.imag).hex()
    if isinstance(value, dict):
        return "dict{%s}" % ", ".join("%s: %s" % (describe(k, fields), describe(v, fields)) for k, v in value.items())
    return "%s(%s)" % (type(value).__name__, ascii(value))


def codes(code):
    """A code object and all that are among its constants, at any depth."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)
