"""Code objects from a package against those of the stock loader, recursively, and every operation on mapped text.

    codes.py TREE STEP    every STEP-th module below TREE, which a package covers
"""

import importlib.util
import json
import marshal
import os
import pickle
import re
import struct
import sys
import types
from importlib.machinery import PathFinder, SourceFileLoader

CODE = types.CodeType
FIELDS = sorted(
    name
    for name in dir(CODE)
    # co_lnotab: deprecated; made of the line table.
    if name.startswith("co_") and name != "co_lnotab" and not callable(getattr(CODE, name))
)
TEXT_FIELDS = ("co_names", "co_varnames", "co_freevars", "co_cellvars")
finder = next(each for each in sys.meta_path if type(each).__module__ == "pye._finder")
# An image leaves its names as they are: interned ones of the process are other objects. (The
# debug builds would not have it.)
images = [store["image"] for store in finder._packages.status()["stores"] if store["image"]]
names_are_apart = any(images) and not hasattr(sys, "gettotalrefcount")


def same(ours, stock, again, where):
    """That two objects are equal in value and type all the way down. `again` is loaded as `stock` was: strings that are one object in
    both are interned, and so must be ours.
    """
    assert type(ours) is type(stock), (where, type(ours), type(stock))
    if isinstance(stock, CODE):
        for field in FIELDS:
            same(getattr(ours, field), getattr(stock, field), getattr(again, field), "%s.%s" % (where, field))
        # No code with a NaN among its constants is equal to another.
        assert (ours == stock) is (stock == again), where
        assert hash(ours) == hash(stock) or hash(stock) != hash(again), where
    elif isinstance(stock, tuple):
        assert len(ours) == len(stock), where
        for index, items in enumerate(zip(ours, stock, again)):
            same(*items, where="%s[%d]" % (where, index))
    elif isinstance(stock, frozenset):
        # Members need no exact counterpart, but their types must be the same: 1 and True are equal.
        assert ours == stock and hash(ours) == hash(stock), where
        key = lambda item: (type(item).__name__, repr(item))
        assert sorted(map(key, ours)) == sorted(map(key, stock)), where
    elif isinstance(stock, float):
        assert struct.pack("d", ours) == struct.pack("d", stock), where
    elif isinstance(stock, complex):
        assert struct.pack("dd", ours.real, ours.imag) == struct.pack("dd", stock.real, stock.imag), where
    elif isinstance(stock, slice):
        same((ours.start, ours.stop, ours.step), (stock.start, stock.stop, stock.step),
             (again.start, again.stop, again.step), where)
    elif isinstance(stock, str):
        assert ours == stock and hash(ours) == hash(stock) and len(ours) == len(stock), where
        if stock is again and not names_are_apart:
            assert ours is stock, (where, "is interned in stock Python", stock)
    elif stock is None or stock is Ellipsis or isinstance(stock, bool):
        assert ours is stock, where
    else:
        assert isinstance(stock, (int, bytes)) or type(stock).__name__ == "frozendict", (where, type(stock))
        assert ours == stock and repr(ours) == repr(stock), where


def texts(code, found):
    """The long strings among the constants of `code`."""
    stack = [code]
    while stack:
        item = stack.pop()
        if isinstance(item, CODE):
            stack.extend(item.co_consts)
        elif isinstance(item, (tuple, frozenset)):
            stack.extend(item)
        elif type(item) is str and len(item) >= 64:
            found.append(item)


def is_mapped(text):
    """Whether it has the larger header of a `str` that is not compact."""
    return sys.getsizeof(text) != sys.getsizeof("".join(list(text)))


class Holder:
    pass


def keywords(**given):
    return given


def operations(mapped, names):
    """Every way to use a string, against a heap copy of it."""
    copy = "".join(list(mapped))
    assert copy is not mapped and mapped == copy and copy == mapped and hash(mapped) == hash(copy)
    for name in names:
        ours, stock = getattr(mapped, name)(), getattr(copy, name)()
        assert ours == stock and type(ours) is type(stock), name
    middle = len(copy) // 2
    word = copy[middle : middle + 5]
    for operation in (
        lambda s: s[3:-3], lambda s: s[::-1], lambda s: s[7], lambda s: s + "!", lambda s: "!" + s, lambda s: s * 2,
        lambda s: "%s|%r" % (s, s), lambda s: "{0}|{0!r}|{0!a}|{0:>9}".format(s), lambda s: f"{s}:{s:.10}",
        lambda s: s.find(word), lambda s: s.split(word), lambda s: s.partition(word), lambda s: s.replace(word, "?"),
        lambda s: s.startswith(s[:9]), lambda s: s.endswith(s[-9:]), lambda s: word in s, lambda s: s.join(["a", "b"]),
        lambda s: s.center(len(s) + 4, "*"), lambda s: s.translate({97: "b"}), lambda s: s.zfill(len(s) + 2),
        lambda s: s.encode("utf-8", "surrogatepass"), lambda s: s.encode("utf-16", "surrogatepass"),
        lambda s: s.encode("ascii", "backslashreplace"), lambda s: re.findall(r"\w+", s), lambda s: re.sub(r"\s", "_", s),
        lambda s: json.loads(json.dumps(s)), lambda s: pickle.loads(pickle.dumps(s)), lambda s: pickle.dumps(s, 0),
        lambda s: marshal.loads(marshal.dumps(s)), lambda s: marshal.dumps(s, 2), lambda s: {s: 1}[copy], lambda s: {copy: 1}[s],
        lambda s: s in {copy}, lambda s: sorted([s, "a", "z"]), lambda s: max(s), lambda s: list(s), lambda s: s < copy + "a",
        lambda s: keywords(**{s: 1})[copy], lambda s: str(s), lambda s: repr(s), lambda s: ascii(s), lambda s: format(s, ""),
        lambda s: s.expandtabs(3), lambda s: s.maketrans(s, s)[ord(s[0])], lambda s: s.removeprefix(s[:3]),
        lambda s: "".join(map(chr, map(ord, s))), lambda s: s.rsplit(None, 2), lambda s: (s + "x").removesuffix("x"),
    ):
        try:
            stock = operation(copy)
        except UnicodeError as error:
            stock = type(error)
        try:
            ours = operation(mapped)
        except UnicodeError as error:
            ours = type(error)
        assert ours == stock and type(ours) is type(stock), operation.__code__.co_firstlineno
    # Growing in place must not touch what others see.
    grown = mapped
    grown += "!"
    assert grown == copy + "!" and mapped == copy
    # Their UTF-8 form, kept in the object, from C.
    if copy.isprintable() and copy.isascii():
        assert getattr(Holder(), mapped, 5) == 5
        holder = Holder()
        setattr(holder, mapped, 1)
        assert getattr(holder, copy) == 1 and vars(holder) == {copy: 1}


def main(tree, step):
    served = compared = mapped_texts = 0
    all_texts = []
    sources = []
    for directory, directories, files in os.walk(tree):
        directories[:] = sorted(
            d for d in directories if d not in ("__pycache__", "site-packages", "dist-packages") and d.isidentifier()
        )
        sources += [(directory, name[:-3]) for name in sorted(files) if name.endswith(".py")]
    for directory, name in sources[::step]:
        if not name.isidentifier() or not os.path.exists(importlib.util.cache_from_source(os.path.join(directory, name + ".py"))):
            continue
        # As if all directories above were packages.
        parts = [part for part in os.path.relpath(directory, tree).split(os.sep) if part != "."]
        if name == "__init__":
            if not parts:
                continue
            name = parts.pop()
            directory = os.path.dirname(directory)
        fullname = ".".join(parts + [name])
        stock = PathFinder.find_spec(fullname, [directory])
        ours = finder.find_spec(fullname, [directory])
        for field in ("name", "origin", "cached", "submodule_search_locations", "has_location", "parent"):
            assert getattr(ours, field) == getattr(stock, field), (fullname, field)
        if type(stock.loader) is not SourceFileLoader:
            assert type(ours.loader) is type(stock.loader), fullname
            continue
        assert isinstance(ours.loader, SourceFileLoader)
        assert type(ours.loader).__module__ == "pye._finder", (fullname, "not from the package")
        served += 1
        code, expected, again = (spec.loader.get_code(fullname) for spec in (ours, stock, stock))
        same(code, expected, again, fullname)
        # What is made of the code is equal, too, where it is among the stock loader's.
        if expected == again:
            assert marshal.loads(marshal.dumps(code)) == expected, fullname
            assert code.replace(co_name=expected.co_name) == expected, fullname
        compared += 1
        texts(code, all_texts)
    names = [n for n in dir(str) if not n.startswith("_") and n not in ("encode", "format", "format_map", "maketrans")]
    names = [n for n in names if works_without_arguments(n)]
    long_ones = sorted({id(t): t for t in all_texts if is_mapped(t)}.values(), key=len)
    mapped_texts = len(long_ones)
    # Some of each length, and every one that is not ASCII.
    some = [t for t in long_ones if not t.isascii()][:200] + long_ones[:: max(1, mapped_texts // 200)]
    for text in some:
        operations(text, names)
    # Interned at last: the interpreter must end well with them, and with those that nobody else refers to any more.
    for text in some[::2]:
        assert sys.intern(text) is sys.intern("".join(list(text)))
    status = finder._packages.status()
    loaded = sum(store["loaded"] for store in status["stores"])
    assert loaded >= served > 0 and compared == served, (loaded, served, compared)
    # The stock finder is asked where a directory holds more under a name than the package; the code is the package's all the same.
    reasons = {reason for store in status["stores"] for reason in store["fallbacks"]}
    assert reasons <= {"hidden by an extension module or another package"}, status
    assert mapped_texts > served // 4, "hardly any text is mapped: %d of %d modules" % (mapped_texts, served)
    print(json.dumps({"modules": compared, "mapped": mapped_texts, "used": len(some)}))


def works_without_arguments(name):
    try:
        getattr("", name)()
        return True
    except TypeError:
        return False


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
