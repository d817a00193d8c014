"""make.py FORM BYTES FILE: writes a cache of about so many bytes of objects to FILE, by pickle or by pye.dump (FORM pye)."""
import os
import pickle
import random
import sys


def row(number, random_):
    """One entry as a price list or a gazetteer has them: tuples, strings, numbers."""
    return (
        10**9 + number,
        "entry %d of the list" % number,
        ("größe", "ціна", "価格")[number % 3] + " %d" % number,
        random_.random(),
        (random_.random(), random_.random()),
        number % 2 == 0,
        None,
        b"\x00\xff%d" % number,
        complex(number, 1),
        tuple("tag %d" % random_.randrange(10**6) for _ in range(number % 4)),
    )


def size(value):
    """Bytes that a value and all that it holds take: CPython gives memory out in steps of 16."""
    if value is None or type(value) is bool:
        return 0
    return (sys.getsizeof(value) + 15) // 16 * 16 + (sum(map(size, value)) if type(value) is tuple else 0)


def main():
    form, wanted, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    # Seeded: the same cache each time.
    random_ = random.Random(1)
    rows, have = [], 0
    while have < wanted:
        rows.append(row(len(rows), random_))
        have += size(rows[-1])
    cache = tuple(rows)
    if form == "pickle":
        with open(path + ".part", "wb") as file:
            pickle.dump(cache, file, protocol=pickle.HIGHEST_PROTOCOL)
        os.replace(path + ".part", path)
    else:
        import pye

        pye.dump(cache, path)


main()
