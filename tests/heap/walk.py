"""What the objects of .pyc files cost, by the interpreter's own account.

usage: walk.py FILE.pyc...              prints one line "FILE KIND OBJECTS BYTES" for each file and kind
       walk.py --together FILE.pyc...   the same for all files as the modules of one process, FILE being "all"

Each file is unmarshalled afresh and every object below its code object is counted once, with sys.getsizeof rounded up to
obmalloc's 16 bytes. Runs on 2.7 and 3.6 up. Fields of code objects that Python code cannot see (3.11 and later) are read
from the process's memory.
"""
import ast
import marshal
import re
import struct
import sys

V = sys.version_info[:2]
CODE = type((lambda: 0).__code__)
TEXT = type(u"")
if V[0] == 2:
    NUMBERS = (int, long, float, complex)  # noqa: F821
else:
    NUMBERS = (int, float, complex)
HEADER = 8 if V[0] == 2 else 12 if V < (3, 7) else 16


def read(address, size):
    MEMORY.seek(address)
    return MEMORY.read(size)


def pointer(address):
    return struct.unpack("<Q", read(address, 8))[0]


def find_hidden():
    """Offsets in a code object of co_localsplusnames and co_localspluskinds: of a function of 37 variables, the only tuple
    and the only bytes of that length."""
    scope = {}
    exec("def f(%s): pass" % ", ".join("a%d" % i for i in range(37)), scope)
    code = scope["f"].__code__
    offsets = {}
    for offset in range(24, CODE.__basicsize__, 8):
        address = pointer(id(code) + offset)
        if address < 4096 or address >> 47:
            continue
        try:
            kind, size = struct.unpack("<8xQQ", read(address, 24))
        except (OSError, struct.error):
            continue
        if size == 37 and kind in (id(tuple), id(bytes)):
            offsets[kind] = offset
    return offsets[id(tuple)], offsets[id(bytes)]


if V >= (3, 11):
    MEMORY = open("/proc/self/mem", "rb", 0)
    NAMES, KINDS = find_hidden()


def round16(size):
    return (size + 15) // 16 * 16


def cost(o):
    size = sys.getsizeof(o)
    if V[0] == 2 and isinstance(o, (int, float)):
        return size  # from blocks of their own
    if V[0] == 2 and isinstance(o, TEXT):
        wide = sum(1 for c in o if ord(c) > 0xFFFF or not 0xDC00 <= ord(c) < 0xE000 or sys.maxunicode > 0xFFFF)
        return 48 + round16(4 * (wide + 1))  # as UCS-4
    basic = None
    if isinstance(o, (set, frozenset)):
        basic = sys.getsizeof(set())
    if isinstance(o, CODE) and V < (3, 11):
        basic = CODE.__basicsize__  # and co_cell2arg
    if basic:
        return round16(basic) + round16(size - basic)
    return round16(size)


def is_free(o):
    if o is None or o is True or o is False or o is Ellipsis or o is StopIteration:
        return True
    if isinstance(o, int):
        return same_when_loaded_twice(o)
    if isinstance(o, bytes):
        return len(o) == 0 or len(o) == 1 and V[0] == 3 and same_when_loaded_twice(o)
    if isinstance(o, TEXT):
        return len(o) == 0 or len(o) == 1 and V[0] == 3 and ord(o) < 256
    return o == () and isinstance(o, tuple)


def same_when_loaded_twice(o):
    data = marshal.dumps(o, 2)
    return marshal.loads(data) is marshal.loads(data)


class Walk:
    def __init__(self):
        self.seen = {}
        self.sums = {}

    def count(self, kind, address, size, o=None):
        if address not in self.seen:
            self.seen[address] = o  # keeps it alive, so that its address stays its own
            objects, total = self.sums.get(kind, (0, 0))
            self.sums[kind] = (objects + 1, total + size)

    def code(self, code):
        if id(code) in self.seen:
            return
        self.count("code", id(code), cost(code), code)
        for kind, fields in (
            ("bytecode", "co_code" if V < (3, 11) else ""),
            ("line_tables", "co_lnotab" if V < (3, 10) else "co_linetable"),
            ("exception_tables", "co_exceptiontable"),
        ):
            if fields and hasattr(code, fields):
                self.bytes(kind, getattr(code, fields))
        for field in ("co_filename", "co_name") + (("co_qualname",) if V >= (3, 11) else ()):
            self.any(getattr(code, field))
        self.any(code.co_names)
        self.any(code.co_consts)
        if V < (3, 11):
            self.any(code.co_varnames)
            self.any(code.co_freevars)
            self.any(code.co_cellvars)
        else:
            names = pointer(id(code) + NAMES)
            kinds = pointer(id(code) + KINDS)
            visible = code.co_varnames + code.co_cellvars + code.co_freevars
            count = struct.unpack("<16xQ", read(names, 24))[0]
            assert len(set(visible)) <= count <= len(visible), (code, count)
            if count:
                self.count("tuples", names, round16(sys.getsizeof((None,) * count)))
                if not is_free(b"\x20" * count):
                    self.count("bytes", kinds, round16(sys.getsizeof(b" " * count)))
            for name in visible:
                self.any(name)

    def bytes(self, kind, o):
        if not is_free(o):
            self.count(kind if V[0] == 3 else "strings", id(o), cost(o), o)

    def any(self, o):
        if is_free(o):
            return
        if isinstance(o, CODE):
            self.code(o)
        elif isinstance(o, TEXT) or V[0] == 2 and isinstance(o, bytes):
            self.count("strings", id(o), cost(o), o)
        elif isinstance(o, bytes):
            self.count("bytes", id(o), cost(o), o)
        elif isinstance(o, NUMBERS):
            self.count("numbers", id(o), cost(o), o)
        elif isinstance(o, tuple):
            self.count("tuples", id(o), cost(o), o)
            for item in o:
                self.any(item)
        elif isinstance(o, frozenset):
            self.count("containers", id(o), cost(o), o)
            for item in o:
                self.any(item)
        elif isinstance(o, slice):
            self.count("containers", id(o), cost(o), o)
            for item in (o.start, o.stop, o.step):
                self.any(item)
        else:
            raise TypeError(repr(o))


def docstrings(source):
    """How many docstring objects a source makes, longer than a character: from 3.8 the compiler merges equal constants of
    a module, before that only what looks like an identifier, which it interns."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef) + ((ast.AsyncFunctionDef,) if V[0] == 3 else ())
    texts = [ast.get_docstring(node, False) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    texts = [text for text in texts if text and len(text) > 1]
    if V >= (3, 8):
        return len(set(texts))
    names = [text for text in texts if re.match("^[A-Za-z0-9_]+$", text)]
    return len(texts) - len(names) + len(set(names))


def load(path):
    with open(path, "rb") as file:
        return marshal.loads(file.read()[HEADER:])


def report(name, walk):
    for kind in sorted(walk.sums):
        print("%s %s %d %d" % ((name, kind) + walk.sums[kind]))


if __name__ == "__main__":
    if sys.argv[1] == "--together":
        walk = Walk()
        for path in sys.argv[2:]:
            walk.code(load(path))
        report("all", walk)
    else:
        for path in sys.argv[1:]:
            code = load(path)
            walk = Walk()
            walk.code(code)
            report(path, walk)
            with open(code.co_filename, "rb") as file:
                print("%s docstrings %d 0" % (path, docstrings(file.read())))
