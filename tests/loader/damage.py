"""Damages a package in many places: whatever is loaded from it is equal to what the stock loader loads, or is left to that.

    damage.py DIRECTORY PACKAGE    DIRECTORY/lib is what PACKAGE was linked from
"""

import os
import random
import sys
from importlib.machinery import PathFinder

sys.path.insert(0, os.environ["PYE_TEST_SITE"])
from pye import _finder  # noqa: E402
from pye._native import Packages  # noqa: E402

del sys.path[0]

NAMES = ["single", "app", "app.mod", "app.fails", "app.sub", "app.sub.leaf", "both", "plain", "twice", "space.one", "native"]


def modules(root):
    for name in NAMES:
        above = name.split(".")[:-1]
        yield name, [os.path.join(root, *above)]


def damaged(good):
    """What can happen to a file, with the same seed each time."""
    chance = random.Random(20260101)
    for length in [*range(0, 256, 17), *(chance.randrange(len(good)) for _ in range(60)), len(good) - 1]:
        yield good[:length]
    places = [*range(0, 1024, 5), *range(len(good) - 1024, len(good), 5)]
    places += [chance.randrange(len(good)) for _ in range(1500)]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        yield bytes(bad)
    for _ in range(300):
        bad = bytearray(good)
        place, length = chance.randrange(len(good)), chance.choice((2, 4, 8, 64, 4096))
        bad[place : place + length] = chance.choice((b"\0", b"\xff", b"\x7f", bytes([chance.randrange(256)]))) * len(bad[place : place + length])
        yield bytes(bad)
    # Pages that belong elsewhere.
    for _ in range(100):
        bad = bytearray(good)
        here, there = (chance.randrange(len(good) // 4096) * 4096 for _ in range(2))
        bad[here : here + 4096] = good[there : there + 4096].ljust(4096, b"\0")
        yield bytes(bad[: len(good)])


def main(directory, package):
    root = os.path.join(directory, "lib")
    with open(package, "rb") as file:
        good = file.read()
    expected = {}
    for name, path in modules(root):
        expected[name] = PathFinder.find_spec(name, path).loader.get_code(name)
    refused = served = 0
    bad_package = package + ".bad"
    for bad in [good, *damaged(good)]:
        with open(bad_package, "wb") as file:
            file.write(bad)
        native = Packages()
        try:
            native.open(root, bad_package, [])
        except OSError as error:
            assert bad is not good and str(error), error
            refused += 1
            os.unlink(bad_package)
            continue
        finder = _finder.Finder(native)
        for name, path in modules(root):
            spec = finder.find_spec(name, path)
            if spec is None or type(spec.loader) is not _finder.Loader:
                assert bad is not good, name
                continue
            assert spec.loader.get_code(name) == expected[name], name
        status = native.status()
        assert bad is not good or sum(store["loaded"] for store in status["stores"]) == len(NAMES), status
        served += sum(store["loaded"] for store in status["stores"])
        os.unlink(bad_package)
    assert refused > 50 and served > 1000, (refused, served)
    print(refused, served)


if __name__ == "__main__":
    main(*sys.argv[1:])
