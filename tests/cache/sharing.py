"""sharing.py DIRECTORY: workers that are forked after a cache was loaded copy none of its pages by reading it."""
import marshal
import os
import subprocess
import sys

import pye

FILE = os.path.join(sys.argv[1], "large")


def fields(path):
    """Kilobytes of the objects of the mapped file, by field of smaps, summed up."""
    sums, inside = {}, False
    with open("/proc/self/smaps") as file:
        for line in file:
            first, *rest = line.split()
            if not first.endswith(":"):
                inside = rest[-1:] == [path] and "w" in rest[0]
            elif inside and rest[-1] == "kB":
                sums[first[:-1]] = sums.get(first[:-1], 0) + int(rest[0])
    return sums


def read(value):
    """Takes a reference to everything, and looks into it."""
    if type(value) is tuple:
        return sum(map(read, value))
    return len(value) if type(value) in (str, bytes) else int(abs(value))


value = tuple((n * 10**9, "text %d" % n, b"%d" % n, float(n), complex(n, 1), ("a", n)) for n in range(30_000))
expected = read(value)
# Saved by another process: where the interpreter's address changes from start to start, this one relocates all pages.
program = "import pye, marshal, sys; pye.dump(marshal.loads(sys.stdin.buffer.read()), sys.argv[1])"
subprocess.run([sys.executable, "-c", program, FILE], input=marshal.dumps(value), check=True)
del value
got = pye.load(FILE)
before = fields(FILE)
size = before["Size"]
assert size > 5_000, before
workers = []
for _ in range(4):
    worker = os.fork()
    if worker == 0:
        try:
            assert read(got) == expected and read(got) == expected
            after = fields(FILE)
            assert after["Rss"] == size and after["Anonymous"] == before["Anonymous"], after
            # Relocated pages remain shared with the parent. (Pages of a file that is not written back yet count as dirty too.)
            assert after["Private_Dirty"] <= size - before["Anonymous"], after
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    workers.append(worker)
assert [os.waitpid(worker, 0)[1] for worker in workers] == [0] * 4
print("done")
