# Times marshal.loads over files: the child of `codec speed`.
#
# Standard input: the length of a list of paths, that list, each path ended by a NUL; a byte when the files are the right
# ones; then a byte for each round, until it is closed. Standard output: "MAGIC FILES BYTES CRC32" of what was read, and for each round the seconds it took and
# how many of them freeing the results took.
import gc
import importlib.util
import marshal
import sys
import types
import zlib
from time import perf_counter


def main():
    stdin, stdout = sys.stdin.buffer, sys.stdout
    length = int(stdin.readline())
    paths = stdin.read(length).split(b"\0")[:-1]
    header = 16 if sys.version_info >= (3, 7) else 12
    views, size, crc = [], 0, 0
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        size += len(data)
        crc = zlib.crc32(data, crc)
        # A view: the header is passed over without a copy.
        views.append(memoryview(data)[header:])
    print(importlib.util.MAGIC_NUMBER.hex(), len(views), size, crc & 0xFFFFFFFF, file=stdout, flush=True)
    if not stdin.read(1):
        return
    loads = marshal.loads
    for path, view in zip(paths, views):
        if not isinstance(loads(view), types.CodeType):
            sys.exit("%s: not a code object" % path)
    # Collections would only slow the loads down; importlib runs with them, so this flatters marshal.loads.
    gc.collect()
    gc.disable()
    while stdin.read(1):
        freeing = 0.0
        start = perf_counter()
        for view in views:
            code = loads(view)
            loaded = perf_counter()
            del code
            freeing += perf_counter() - loaded
        print(perf_counter() - start, freeing, file=stdout, flush=True)
        gc.collect()


main()
