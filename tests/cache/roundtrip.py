"""roundtrip.py DIRECTORY: saves objects of all kinds, loads them, and uses them in every way that could tell them from others."""
import copy
import gc
import io
import json
import marshal
import math
import os
import pickle
import sys
import weakref

import pye

HERE = sys.argv[1]


def saved(value, name="cache"):
    """What comes back."""
    path = os.path.join(HERE, name)
    pye.dump(value, path)
    return pye.load(path)


def same(a, b):
    """That two graphs have equal objects of the same types, without recursion; numbers to the bit."""
    left = [(a, b)]
    while left:
        a, b = left.pop()
        assert type(a) is type(b), (type(a), type(b))
        if type(a) is tuple:
            assert len(a) == len(b)
            left.extend(zip(a, b))
        elif type(a) in (float, complex):
            assert repr(a) == repr(b), (a, b)
        else:
            assert a == b and hash(a) == hash(b), (a, b)


def fresh(text):
    """The same text as an object of its own."""
    return text[:1] + text[1:] if len(text) > 1 else text


INTS = [sign * (1 << bits) + more for bits in range(0, 200) for more in (-1, 0, 1) for sign in (1, -1)] + [10**5000, -(10**5000)]
TEXTS = [
    base * count
    for base in ("a", "\x00", "\x7f", "\x80", "\xff", "\u0100", "\uffff", "\U00010000", "\U0010ffff", "\ud800")
    for count in (0, 1, 2, 3, 7, 8, 63, 64, 65, 1000, 5000)
]
BYTES = [b"", b"a", b"\x00", b"\xff\x00\xff", bytes(range(256)), b"x" * 4095, b"x" * 100_000]
FLOATS = [0.0, -0.0, 1.5, float("inf"), -float("inf"), float("nan"), sys.float_info.min, 5e-324, sys.float_info.max]
COMPLEX = [complex(a, b) for a in FLOATS for b in FLOATS]
SINGLETONS = [None, True, False, Ellipsis]


def kinds():
    everything = (tuple(INTS), tuple(TEXTS), tuple(BYTES), tuple(FLOATS), tuple(COMPLEX), tuple(SINGLETONS), (), ((),), (((), ()),))
    got = saved(everything, "kinds")
    same(everything, got)
    for number, value in enumerate(INTS[::50] + TEXTS[::7] + BYTES + FLOATS + SINGLETONS + [(), ((),), (1,)]):
        same(value, saved(value, "one%d" % number))
    for got, expected in zip(got[5], SINGLETONS):
        assert got is expected
    assert got is Ellipsis
    return everything


def identity():
    text, inner, number = fresh("a text of its own"), (1, fresh("in a tuple")), 10**20
    got = saved((text, inner, [text, inner][1], text, number, int(str(number)), (inner, (inner,))), "identity")
    assert got[0] is got[3] and got[1] is got[2] and got[6][0] is got[1] and got[6][1][0] is got[1]
    assert got[4] is got[5], "equal numbers are one"
    got = saved((0.0, -0.0, float("0"), (1.0, 2.0), (1.0, float("2.0"))), "equal")
    assert got[0] is got[2] and repr(got[1]) == "-0.0" and got[3] == got[4]


def use(everything, path):
    got = pye.load(path)
    assert pye.load(path) is got, "one file, one object"
    ints, texts, raw, floats, complexes = got[:5]
    assert pickle.loads(pickle.dumps(got[:4], 5))[1] == texts
    for protocol in range(6):
        same(pickle.loads(pickle.dumps(raw, protocol)), raw)
    same(marshal.loads(marshal.dumps(everything)), marshal.loads(marshal.dumps(got)))
    plain = [t for t in texts if "\ud800" not in t]
    assert json.loads(json.dumps(plain)) == plain
    same(copy.deepcopy(got), got)
    index = {t: n for n, t in enumerate(texts)}
    assert all(texts[n] == t for t, n in index.items())
    assert {f for f in floats[:5]} == {0.0, 1.5, math.inf, -math.inf}
    assert sum(ints) == sum(everything[0])
    assert sorted(texts) == sorted(everything[1])
    for t in texts:
        assert t + "x" == fresh(t) + "x" and t.upper() == fresh(t).upper() and t.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass") == t
        assert t.isascii() == fresh(t).isascii() and repr(t) == repr(fresh(t))
    assert b"".join(raw) == b"".join(everything[2])
    io.BytesIO().write(raw[-1])
    memoryview(raw[-1])[10]
    assert [hash(g) for g in got[:3]] == [hash(e) for e in everything[:3]]
    for t in (got, texts, ints):
        assert not gc.is_tracked(t)
        try:
            weakref.ref(t)
        except TypeError:
            pass
    holders = [[got], {"k": got}, (got, [got])]
    for _ in range(3):
        gc.collect()
    gc.freeze()
    gc.collect()
    gc.unfreeze()
    assert holders[0][0] is got and not any(o is got for o in gc.get_objects())
    # A dump of what was loaded.
    same(saved(got, "again"), everything)


class Plain:
    pass


def names():
    """Loaded strings as names of attributes, keywords, classes, modules: they are interned then."""
    loaded = saved(tuple(fresh("name_%d" % n) for n in range(50)) + ("join", "__doc__", "append", "größe_x", "a", "zz top"), "names")
    thing = Plain()
    for name in loaded:
        setattr(thing, name, 1)
        assert getattr(thing, name) == 1
        assert sys.intern(name) == name
    assert getattr([], loaded[52]) is not None
    made = type(loaded[0], (Plain,), {loaded[1]: lambda self: loaded[2], loaded[3]: 4})
    assert getattr(made(), loaded[1])() == loaded[2] and made.__name__ == loaded[0]
    assert (lambda **k: k)(**{loaded[4]: 5}) == {loaded[4]: 5}
    space = {loaded[5]: 3}
    exec("%s += 1" % loaded[5], space)
    assert space[loaded[5]] == 4 and loaded[5] in space
    assert "".join(loaded[:3]) == "name_0name_1name_2" and ",".join([loaded[1], "y"]).split(",")[0] == loaded[1]
    assert thing.__dict__["name_7"] == 1 and vars(thing)[loaded[7]] == 1
    assert thing.name_8 == 1
    for name in loaded[:5]:
        delattr(thing, name)


def deep():
    value = ()
    for level in range(100_000):
        value = (value, level)
    path = os.path.join(HERE, "deep")
    pye.dump(value, path)
    got = pye.load(path)
    levels = 0
    while got:
        got = got[0]
        levels += 1
    assert levels == 100_000
    # Taken apart step by step: older interpreters recurse.
    while value:
        value = value[0]
    bad = [1]
    for level in range(50_000):
        bad = (bad,)
    refused(TypeError, "levels deep", bad)
    while type(bad) is tuple:
        bad = bad[0]


class Text(str):
    pass


def refused(error, part, value):
    path = os.path.join(HERE, "never")
    try:
        pye.dump(value, path)
    except error as e:
        assert part in str(e), e
    else:
        raise AssertionError("%r was dumped" % (value,))
    assert not [name for name in os.listdir(HERE) if "never" in name or name.endswith(".pye-tmp")]


def wrong():
    refused(TypeError, "the object is of type list", [])
    refused(TypeError, "item [1][2] is of type dict", (1, (2, 3, {})))
    refused(TypeError, "frozenset", (frozenset(),))
    refused(TypeError, "Text", ("a", Text("b")))
    refused(TypeError, "slice", (slice(1),))
    refused(TypeError, "type", (int,))
    refused(TypeError, "NotImplementedType", (NotImplemented,))
    try:
        pye.dump(1, os.path.join(HERE, "no", "directory"))
    except FileNotFoundError as e:
        assert "directory" in str(e), e
    else:
        raise AssertionError


def forked(path, everything):
    got = pye.load(path)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                same(everything, got)
                assert pye.load(path) is got
                gc.collect()
                hash(got[:3])
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            # As a worker ends: with finalisation.
            sys.exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def main():
    everything = kinds()
    identity()
    use(everything, os.path.join(HERE, "kinds"))
    names()
    deep()
    wrong()
    forked(os.path.join(HERE, "kinds"), everything)
    print("done")


main()
