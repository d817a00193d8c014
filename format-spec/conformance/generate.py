#!/usr/bin/env python3
"""Writes the .pyc files of conformance/valid anew: generate.py PYTHON...

Each PYTHON (any version that pye reads) compiles sample.txt; the rest is marshal data made by hand. Then run `make bless`, which makes
the .pye, .dump and .err files. What a Python flags with FLAG_REF depends on its build, so the files are kept, not made by the tests.
"""

import os
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VALID = os.path.join(HERE, "valid")
MTIME = 1577836800  # 2020-01-01

COMPILE = """
import os, py_compile, sys
source, target, mode = sys.argv[1:]
kw = {}
if mode != 'TIMESTAMP':
    kw['invalidation_mode'] = getattr(py_compile.PycInvalidationMode, mode)
py_compile.compile(source, target, 'sample.py', True, **kw)
"""


def compile_with(python, name, options=(), mode="TIMESTAMP"):
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "sample.py")
        shutil.copy(os.path.join(HERE, "sample.txt"), source)
        os.utime(source, (MTIME, MTIME))
        target = os.path.join(VALID, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.check_call([python, "-E", "-s", "-B", *options, "-c", COMPILE, source, target, mode])


# ---- Marshal data by hand, for 3.12 unless said otherwise ----------------------------------------------------------------


def u32(number):
    return struct.pack("<I", number & 0xFFFFFFFF)


def string(code, payload):
    length = bytes([len(payload)]) if code in b"zZ\xfa\xda" else u32(len(payload))
    return bytes([code]) + length + payload


def small_tuple(*items):
    return b")" + bytes([len(items)]) + b"".join(items)


def code_312(consts):
    """A module's code object that returns None; `consts` is its tuple of constants."""
    return b"".join([
        b"\xe3", u32(0) * 3, u32(1), u32(0),
        string(ord("s"), b"\x97\0y\0"), consts, small_tuple(), small_tuple(), string(ord("s"), b""),
        string(ord("z"), b"hand.py"), string(ord("Z"), b"<module>"), string(ord("Z"), b"<module>"),
        u32(1), string(ord("s"), b""), string(ord("s"), b""),
    ])  # fmt: skip


def header(magic, *words):
    return struct.pack("<H", magic) + b"\r\n" + b"".join(u32(w) for w in words)


HEADER_312 = header(3531, 0, MTIME, 100)


def write(name, *parts):
    path = os.path.join(VALID, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"".join(parts))


def by_hand():
    s, u, t, a, A, z, Z = b"sutaAzZ"
    write("widths.pyc", HEADER_312, code_312(small_tuple(
        string(u, b"ASCII in a unicode object, 32 by"),
        string(u, b"one byte less stays in control:"),
        string(u, "Latin-1 as UTF-8: größer, über, ÿ".encode()),
        string(t, "two bytes a character: αβγδε, \uffff".encode()),
        string(u, b"lone surrogates \xed\xa0\xbd \xed\xb8\x80 and a pair \xed\xa0\xbd\xed\xb8\x80"),
        string(u, "four bytes a character: \U0001f40d \U0010ffff".encode()),
        string(a, b"Latin-1 where marshal says ASCII: \xe9\xff"),
        string(A, b"the same, interned and long enough: \x80"),
        string(z, b"a short one, which is Latin-1 too: \xe9"),
        string(Z, b"a short one, ASCII as it should be, interned"),
        string(s, b"bytes with NUL \0 and anything \xff\xfe else"),
        string(u, b"NUL inside text \0 is a character too"),
        string(u, b"to be cut out a second time and merged"),
        string(u, b"to be cut out a second time and merged"),
        string(u, b"be cut out a second time and merged"),
    )))
    write("not_utf8.pyc", HEADER_312, code_312(small_tuple(
        string(u, b"no canonical form: \xff is no UTF-8 at all"),
        string(u, b"no canonical form: \xc0\x80 is not the shortest"),
        string(t, b"no canonical form: \xf4\x90\x80\x80 is above U+10FFFF"),
        string(u, b"this one has one, and is cut out of the file"),
    )))
    numbered = b"".join(bytes([ord("i") | 0x80]) + u32(i) for i in range(300))
    refs = lambda *numbers: b"".join(b"r" + u32(n) for n in numbers)
    # Two in a row stay; four of one byte each; four of which one needs two; a flagged one stays.
    items = [numbered, refs(1, 2), b"N", refs(3, 4, 255, 0), b"N", refs(3, 4, 256, 299), b"\xf2" + u32(7)]
    write("references.pyc", HEADER_312, code_312(b"(" + u32(300 + 2 + 1 + 4 + 1 + 4 + 1) + b"".join(items)))
    write("trailing.pyc", HEADER_312, code_312(small_tuple(string(s, b"what follows the object is kept too"))),
          b"trailing bytes \xff\0(")
    write("no_payload.pyc", HEADER_312, code_312(small_tuple(b"N", b"i" + u32(1))))
    write("raw_magic.pyc", b"\x01\x02\x03\x04no known magic number: kept as it is, \xff")
    write("raw_truncated.pyc", HEADER_312, code_312(small_tuple())[:-4])
    write("raw_nothing.pyc")
    write("custom_magic.py312.pyc", header(61680, 0, MTIME, 100), code_312(small_tuple(
        string(u, b"read with --python-version 3.12, for the magic number is nobody's"))))
    write("example.pyc", HEADER_312, code_312(small_tuple(
        string(Z, b"A docstring of more than 32 bytes."), string(u, "größer als zweiunddreißig Zeichen".encode()), b"N",
        b"\xe9" + u32(7), refs(1), refs(1), refs(1),
    )))
    every_type_315()
    every_type_27()


def every_type_315():
    s, u, t, a, A, z, Z = b"sutaAzZ"
    double = struct.pack("<d", 1.5)
    objects = [
        b"N", b"F", b"T", b"S", b".", b"\xae", b"\xce",
        b"\xe9" + u32(-5), b"I" + struct.pack("<q", -(2**40)), b"g" + double, b"y" + double + struct.pack("<Q", 0x7FF4000000000001),
        b"f\x031.5", b"x\x011\x03nan",
        b"l" + u32(-2) + struct.pack("<HH", 1, 0x7FFF), b"l" + u32(0),
        string(s, b"s"), string(t, "ä".encode()), string(u, b""), string(a, b"a"), string(A, b"A"), string(z, b"z"), string(Z | 0x80, b"Z"),
        b"(" + u32(1) + b"N", small_tuple(), b"[" + u32(2) + b"FT", b"<" + u32(1) + b"N", b">" + u32(1) + b"N",
        b"{NFTN0", b"{0", b"}NF0", b":NNN", b"r" + u32(2),
    ]  # fmt: skip
    write("types_315.pyc", header(3666, 0, MTIME, 100), code_312(b"\xa9" + bytes([len(objects)]) + b"".join(objects)))


def every_type_27():
    s, t, u = b"stu"
    double = struct.pack("<d", 1.5)
    objects = [
        b"N", b"F", b"T", b"S", b".", b"i" + u32(-5), b"I" + struct.pack("<q", -(2**40)), b"g" + double, b"y" + double * 2,
        b"f\x031.5", b"x\x011\x03nan", b"l" + u32(-1) + struct.pack("<H", 9),
        string(s, b"s"), string(t, b"interned"), string(u, "ä".encode()), b"R" + u32(0),
        string(t, b"an interned string is bytes here: \xff\xfe"),
        b"[" + u32(1) + b"N", b"<" + u32(1) + b"N", b">" + u32(1) + b"N",
        # A pair whose value is NULL is skipped; a key that is NULL ends the dict.
        b"{NFT0TN0", b"{0",
    ]  # fmt: skip
    code = b"".join([
        b"c", u32(0) * 2, u32(1), u32(64), string(s, b"d\0\0S"), b"(", u32(len(objects)), *objects,
        (b"(" + u32(0)) * 4, string(s, b"hand.py"), string(t, b"<module>"), u32(1), string(s, b""),
    ])  # fmt: skip
    write("types_27.pyc", header(62211, MTIME), code)


def packages(python_27, python_312):
    def of(name, *texts):
        write(name, HEADER_312, code_312(small_tuple(*(string(ord("u"), text) for text in texts))))

    compile_with(python_312, "package/pkg/__pycache__/__init__.cpython-312.pyc")
    compile_with(python_312, "package/pkg/__pycache__/mod.cpython-312.pyc")
    compile_with(python_312, "package/pkg/__pycache__/mod.cpython-312.opt-2.pyc", ["-OO"])
    compile_with(python_27, "package/pkg/mod.pyc")
    of("package/pkg.pyc", b"hidden by the package of the same name")
    of("package/pkg/legacy.pyc", b"hidden by __pycache__, which is looked at first")
    of("package/pkg/__pycache__/legacy.cpython-312.pyc", b"looked at first, in __pycache__")
    of("package/pkg/__pycache__/odd.cpython-312.opt-fast.pyc", b"a level that has no number: not in the index")
    of("package/pkg/not-a-name.pyc", b"no identifier: found by its path alone")
    of("package/ns/inner/__pycache__/leaf.cpython-312.pyc", b"two namespace packages lead to this module")
    of("package/lib/python3.12/ns/other.pyc", b"another portion of the namespace; its root is lib/python3.12")
    of("package/tails/a.pyc", b"the whole of this text is stored for a module, its tail for another")
    of("package/tails/b.pyc", b"this text is stored for a module, its tail for another")
    of("package/tails/c.pyc", b"the whole of this text is stored for a module, its tail for another")
    # Not linked, but told of: extension modules, a package and sources of which nothing was compiled, what may be a namespace.
    write("package/pkg/mod.abi3.so", b"hides pkg.mod\n")
    write("package/pkg/mod.py", b"# not told of: it has a record\n")
    write("package/pkg/legacy/__init__.py", b"# hides pkg.legacy\n")
    write("package/pkg/0001_initial.py", b"# no identifier, but import_module finds it\n")
    write("package/pkg/templates/page.html", b"pkg.templates is a namespace package\n")
    write("package/pkg/not.a.module.py", b"# nothing imports this\n")
    write("package/native/_speed.cpython-312-x86_64-linux-gnu.so", b"stands alone in its directory\n")
    write("package/broken.pyc", b"\xff\xffkept raw: no header, so no name and no key")


def main():
    versions = {}
    for python in sys.argv[1:]:
        name = subprocess.check_output([python, "-c", "import sys; print('%d%d' % sys.version_info[:2])"]).decode().strip()
        versions[name] = python
        compile_with(python, "sample_%s.pyc" % name)
    newest = versions["312"]
    compile_with(newest, "checked_hash.pyc", mode="CHECKED_HASH")
    compile_with(newest, "unchecked_hash.pyc", mode="UNCHECKED_HASH")
    compile_with(newest, "optimized.cpython-312.opt-1.pyc", ["-O"])
    compile_with(newest, "optimized.cpython-312.opt-2.pyc", ["-OO"])
    by_hand()
    packages(versions["27"], newest)


if __name__ == "__main__":
    main()
