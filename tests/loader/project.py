"""Makes a small project for the other scripts: directories that stand on sys.path, with sources and their .pyc.

    project.py DIRECTORY [compileall's options]

DIRECTORY/lib and DIRECTORY/more are roots; DIRECTORY/cwd holds what must hide some of their modules.
"""

import compileall
import os
import shutil
import sys
import sysconfig

LONG = "It is longer than what stays in the control stream, and it has spaces in it, so that nobody interns it: %s."

FILES = {
    "lib/app/__init__.py": '''"""The package. LONG"""
NAME = __name__
''',
    "lib/app/__main__.py": '''"""Run by python -m app."""
import sys
from app import mod
print("main", __name__, __package__, __spec__.name, sys.argv[1:], mod.greet("you"))
''',
    "lib/app/mod.py": '''"""A module. LONG"""
TEXT = "LONG"
LATIN = "Zeichen \\xe9\\xe8. LONG"
WIDE = "Zeichen \\u20ac. LONG"
WIDEST = "Zeichen \\U0001f40d. LONG"
NUMBERS = (1, 1.0, True, -0.0, 1j, b"bytes", None, ..., 2 ** 80)

def greet(whom, *, loudly=False):
    """Greets. LONG"""
    assert whom, "nobody. LONG"
    greeting = "Hello, %s. LONG" % whom
    return greeting.upper() if loudly else greeting

class Shape:
    """A class. LONG"""
    sides = {"three": 3}
    def area(self):
        """Its area. LONG"""
        return [side for side in self.sides if side in {"three", "LONG", "four"}]

if __name__ == "__main__":
    print(greet("main"), __spec__.name, __file__ == __spec__.origin)
''',
    "lib/app/fails.py": '''"""Raises. LONG"""
def outer(n):
    return inner(n)

def inner(n):
    # A comment is not in the code.
    value = {"key": [1, 2, n]}
    return value["no such key, and a long one at that. LONG"]

def import_it():
    import app.raises

def warn():
    import warnings
    warnings.warn("beware", UserWarning)
''',
    "lib/app/raises.py": '''"""Cannot be imported. LONG"""
x = 1
raise RuntimeError("at import. LONG")
''',
    "lib/app/data.txt": "data of the package\n",
    "lib/app/sub/__init__.py": '"""A package in a package. LONG"""\n__all__ = ["leaf"]\n',
    "lib/app/sub/leaf.py": '"""A leaf. LONG"""\nfrom ..mod import greet\nfrom . import __name__ as parent\n',
    "lib/app/sub/__main__.py": 'print("sub", __name__, __package__)\n',
    "lib/app/lazy.py": '"""Has __getattr__. LONG"""\ndef __getattr__(name):\n    return "lazy " + name\n',
    "lib/app/cyclic_a.py": '"""LONG"""\nfrom app import cyclic_b\nA = 1\n',
    "lib/app/cyclic_b.py": '"""LONG"""\nimport app.cyclic_a\nB = 2\n',
    "lib/single.py": '"""A module by itself. LONG"""\nWHO = "lib"\n',
    # Both a package and a module: the package wins.
    "lib/both/__init__.py": '"""LONG"""\nWHAT = "package"\n',
    "lib/both.py": '"""LONG"""\nWHAT = "module"\n',
    # A directory without __init__ beside a module: the module wins.
    "lib/plain.py": '"""LONG"""\nWHAT = "module"\n',
    "lib/plain/inner.py": '"""LONG"""\n',
    # Two portions of a namespace package, and a regular one that hides a portion.
    "lib/space/one.py": '"""LONG"""\nWHERE = "lib"\n',
    "more/space/two.py": '"""LONG"""\nWHERE = "more"\n',
    "lib/space/deep/three.py": '"""LONG"""\n',
    "lib/partly/x.py": '"""LONG"""\n',
    "more/partly/__init__.py": '"""LONG"""\nWHAT = "regular"\n',
    # Found in the first directory that has it.
    "lib/twice.py": '"""LONG"""\nWHERE = "lib"\n',
    "more/twice.py": '"""LONG"""\nWHERE = "more"\n',
    "lib/hidden.py": '"""LONG"""\nWHERE = "lib"\n',
    "cwd/hidden.py": '"""LONG"""\nWHERE = "cwd"\n',
    # In place of one of the standard library's.
    "lib/this.py": '"""LONG"""\nWHERE = "lib"\n',
    "lib/größe.py": '"""LONG"""\nWHAT = "not ASCII"\n',
    "lib/test_small.py": '''"""LONG"""
import doctest, unittest
import app.mod

class Small(unittest.TestCase):
    """LONG"""
    def test_greet(self):
        self.assertIn("Hello", app.mod.greet("x"))
    @unittest.expectedFailure
    def test_fails(self):
        self.assertEqual(1, 2, "LONG")
''',
}


def extension():
    """A single extension module of the standard library: its name and file."""
    directory = next(entry for entry in sys.path if os.path.basename(entry) == "lib-dynload")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for name in ("_bisect", "_heapq", "_json", "_csv", "_struct", "_opcode", "_queue", "_lsprof", "_multibytecodec", "_testbuffer"):
        path = os.path.join(directory, name + suffix)
        if os.path.exists(path):
            return name, path
    raise SystemExit("no extension module in %s" % directory)


def make(directory, *options):
    for path, text in FILES.items():
        path = os.path.join(directory, *path.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("LONG", LONG % os.path.basename(path)))
        os.utime(path, (1577836800, 1577836800))
    # An extension module beside a module and beside a package of its name: it hides the former.
    name, library = extension()
    for place in ("lib/native", "lib/native2"):
        place = os.path.join(directory, *place.split("/"))
        os.makedirs(place)
        with open(os.path.join(place, "__init__.py"), "w") as file:
            file.write('"""%s"""\n' % (LONG % place.rpartition("/")[2]))
        shutil.copy(library, place)
    with open(os.path.join(directory, "lib", "native", name + ".py"), "w") as file:
        file.write('"""%s"""\nHIDDEN = True\n' % (LONG % name))
    os.makedirs(os.path.join(directory, "lib", "native2", name))
    with open(os.path.join(directory, "lib", "native2", name, "__init__.py"), "w") as file:
        file.write('"""%s"""\nPACKAGE = True\n' % (LONG % name))
    os.makedirs(os.path.join(directory, "cwd"), exist_ok=True)


def compile_all(directory, *options):
    for root in ("lib", "more"):
        for level in (0, 1, 2):
            mode = dict(option.split("=") for option in options).get("mode", "TIMESTAMP")
            import py_compile

            mode_ = getattr(py_compile.PycInvalidationMode, mode)
            assert compileall.compile_dir(
                os.path.join(directory, root), quiet=1, optimize=level, invalidation_mode=mode_, force=True
            )


if __name__ == "__main__":
    make(sys.argv[1])
    compile_all(*sys.argv[1:])
    print(extension()[0])
