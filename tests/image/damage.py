"""Damages a package with an image in many places: each time a process of its own imports from it, and must get what stock Python loads,
from the image or not; none may die.

    damage.py ROOT PACKAGE TIMES    TIMES places are damaged in each section
"""

import importlib.machinery
import json
import os
import random
import struct
import sys

root, package, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path.insert(0, os.environ["PYE_TEST_SITE"])
from pye import _finder  # noqa: E402
from pye._native import Packages  # noqa: E402

sys.path[0] = root
from show import FIELDS, describe  # noqa: E402

# Counters move when code runs.
FIELDS = [name for name in FIELDS if name != "_co_code_adaptive"]
NAMES = ["constants", "functions", "hot", "fails", "names", "text", "generic", "switched"]
# Characters of long text: an image refers to them where they are, and does not check them. `pye verify` does.
TEXT = ".pye.str"
PATH = [os.path.join(root, "imaged")]


def sections(data):
    """Name, offset and size of each section of an ELF file (64 bits, little-endian)."""
    table, size, count, names = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<3H", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * number) for number in range(count)]
    base = headers[names][4]
    for name, kind, _, _, offset, length, *_ in headers:
        if kind != 0 and length:
            yield data[base + name : data.index(b"\0", base + name)].decode(), offset, length


def damaged(good):
    """What happened, and what the file is then."""
    chance = random.Random(20260101)
    for name, offset, length in sections(good):
        places = {offset + chance.randrange(length) for _ in range(times)}
        # Headers stand first, and pages' first bytes are objects' headers.
        if name == ".pye.image":
            places |= {*range(offset, offset + min(length, 256), max(1, 600 // times))}
        elif name.startswith(".pye.image"):
            places |= {page + chance.randrange(64) for page in range(offset, offset + length, 4096)}
        for place in sorted(places):
            bad = bytearray(good)
            bad[place] ^= 1 << chance.randrange(8)
            yield "%s+%d: bit flipped" % (name, place - offset), bad
        for _ in range(times // 8):
            bad = bytearray(good)
            place, many, value = offset + chance.randrange(length), chance.choice((4, 8, 64, 4096)), chance.choice((0, 0xFF, 0x7F, 0x41))
            end = min(place + many, offset + length)
            bad[place:end] = bytes([value]) * (end - place)
            yield "%s+%d: %d bytes of %d" % (name, place - offset, end - place, value), bad
        yield "cut at %s" % name, good[:offset]
        yield "cut in %s" % name, good[: offset + length // 2]
    text = {page for name, offset, length in sections(good) if name.startswith(TEXT) for page in range(offset // 4096, (offset + length) // 4096 + 1)}
    for _ in range(times // 4):
        bad = bytearray(good)
        here, there = (chance.randrange(len(good) // 4096) * 4096 for _ in range(2))
        bad[here : here + 4096] = good[there : there + 4096].ljust(4096, b"\0")
        yield "%s page %d is page %d" % (TEXT if here // 4096 in text else "", here // 4096, there // 4096), bad[: len(good)]


def expected():
    found = {}
    for name in NAMES:
        spec = importlib.machinery.PathFinder.find_spec(name, PATH)
        found[name] = describe(spec.loader.get_code(name), FIELDS)
    return found


def used(path, told):
    """In a child: opens the package and compares all that it gives. Returns what it told of itself."""
    native = Packages()
    try:
        native.open(root, path, [])
    except OSError as error:
        assert str(error)
        return {"refused": str(error)}
    finder = _finder.Finder(native)
    left = 0
    for name in NAMES:
        spec = finder.find_spec("imaged." + name, PATH)
        if spec is None or type(spec.loader) is not _finder.Loader:
            left += 1
            continue
        code = spec.loader.get_code("imaged." + name)
        assert describe(code, FIELDS) == told[name], name
        # It must also run.
        namespace = {"__name__": "imaged." + name, "__package__": "imaged"}
        exec(code, namespace)
        if name == "hot":
            assert namespace["calls"](100) and namespace["attributes"](100) and namespace["containers"](100)
        elif name == "functions":
            assert namespace["comprehended"](4)[2] == [0, 2] and namespace["guarded"](5)
        elif name == "constants":
            assert namespace["in_mixed"]("x") and namespace["texts"]()
    store = native.status()["stores"][0]
    image = store["image"]
    return {"left": left, "loaded": store["loaded"], "image": image and image["loaded"], "state": image and image["state"], "reasons": list(store["fallbacks"])}


def in_child(path, told):
    """What `used` told, or how the child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            os.write(writing, json.dumps(used(path, told)).encode())
            code = 0
        except BaseException as error:
            os.write(writing, json.dumps({"error": "%s: %s" % (type(error).__name__, str(error)[:500])}).encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    answer = json.loads(answer) if answer else {}
    return status, answer


def main():
    with open(package, "rb") as file:
        good = file.read()
    stock = expected()
    status, whole = in_child(package, stock)
    assert status == 0 and whole.get("image") == len(NAMES), (status, whole)
    names = {name for name, _, _ in sections(good)}
    assert {".pye.image", ".pye.image.code", ".pye.image.data"} <= names, names
    counts = {"refused": 0, "image used in full": 0, "image used in part": 0, "image not used": 0, "text differs": 0}
    failures = []
    bad_package = package + ".bad"
    for what, bad in damaged(good):
        with open(bad_package, "wb") as file:
            file.write(bad)
        status, answer = in_child(bad_package, stock)
        os.unlink(bad_package)
        if status == 256 and what.startswith(TEXT) and answer["error"].startswith("AssertionError"):
            counts["text differs"] += 1
        elif status != 0:
            failures.append((what, status, answer))
        elif "refused" in answer:
            counts["refused"] += 1
        elif answer["image"] == len(NAMES):
            counts["image used in full"] += 1
        else:
            # It says why.
            reason = [answer["state"]] if answer["state"] not in (None, "mapped") else answer["reasons"]
            if not reason and answer["left"] == 0:
                failures.append((what, "no reason", answer))
            counts["image used in part" if answer["image"] else "image not used"] += 1
    print(json.dumps(counts))
    for failure in failures:
        print(*failure)
    sys.exit(1 if failures else 0)


main()
