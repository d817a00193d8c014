"""refused.py DIRECTORY [FOREIGN]: files that must not be used. FOREIGN is a cache of another interpreter."""
import os
import struct
import subprocess
import sys
import zlib

import pye

HERE = sys.argv[1]
HEAD, OBJECTS = b".pye.cache", b".pye.cache.objects"


def path(name):
    return os.path.join(HERE, name)


def read(name):
    with open(path(name), "rb") as file:
        return bytearray(file.read())


def write(name, data):
    # A new file: the one of that name may be mapped.
    with open(path(name + ".new"), "wb") as file:
        file.write(data)
    os.rename(path(name + ".new"), path(name))
    return path(name)


def sections(data):
    """Offset and size of each section."""
    at, = struct.unpack_from("<Q", data, 40)
    size, number, names = struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(number)]
    text = rows[names][4]
    return {bytes(data[text + row[0]:data.index(0, text + row[0])]): (row[4], row[5]) for row in rows}


def refused(file, *parts, **options):
    try:
        pye.load(file, **options)
    except pye.LoadError as error:
        assert isinstance(error, OSError)
        assert all(part in str(error) for part in parts), error
        assert os.path.dirname(file) in str(error), error
    else:
        raise AssertionError("%s was loaded, %s expected" % (file, parts))


def child(program, *arguments):
    """Runs it in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


VALUE = tuple(("text number %d" % n, n * 10**9, float(n), b"%d" % n) for n in range(20_000))


def damaged(data):
    there = sections(data)
    head, size = there[HEAD]
    for offset in range(size):
        for flip in (1, 0x80):
            bad = bytearray(data)
            bad[head + offset] ^= flip
            refused(write("head", bad), "of .pye.cache:")
    for name in (b".pye.cache.pages",):
        at, size = there[name]
        for offset in (0, size // 2, size - 1):
            bad = bytearray(data)
            bad[at + offset] ^= 4
            refused(write("table", bad), "CRC32", name.decode())
    for length in [0, 1, 4, 63, 64, 200, 4095, 4096, len(data) // 2, len(data) - 65, len(data) - 1]:
        refused(write("short", data[:length]), "short")
    refused(write("text", b"not a cache at all\n" * 1000), "ELF")
    # The objects themselves: found when asked for.
    at, size = there[OBJECTS]
    for offset in (100, size // 2, size - 1):
        bad = bytearray(data)
        bad[at + offset] ^= 1
        refused(write("objects", bad), "CRC32", "page", verify=True)
    # So are relocations; where they are needed, also without.
    at, size = there[b".pye.cache.reloc"]
    bad = bytearray(data)
    bad[at + size // 2] ^= 1
    refused(write("relocations", bad), "relocations", verify=True)


def verified(data):
    assert pye.load(write("fresh", data), verify=True) == VALUE


def based(data):
    """Its addresses are taken: by another cache here."""
    other = path("other")
    pye.dump(("another",) * 3 + VALUE[:100], other)
    bad = read("other")
    (mine, _), (head, size) = sections(data)[HEAD], sections(bad)[HEAD]
    bad[head + 8:head + 16] = data[mine + 8:mine + 16]
    bad[head + size - 4:head + size] = struct.pack("<I", zlib.crc32(bad[head:head + size - 4]))
    assert pye.load(path("cache")) == VALUE
    refused(write("base", bad), "address")
    # Nothing else was harmed.
    assert pye.load(path("cache")) == VALUE
    assert pye.load(other)[0] == "another"
    # A copy is the same cache.
    assert pye.load(write("copy", data)) is pye.load(path("cache"))


def untrusted(data):
    file = write("open", data)
    os.chmod(file, 0o666)
    refused(file, "write")
    os.chmod(file, 0o644)
    os.mkdir(path("shared"))
    os.chmod(path("shared"), 0o777)
    refused(write("shared/cache", data), "write")
    os.chmod(path("shared"), 0o1777)
    assert pye.load(path("shared/cache")) == VALUE
    refused(path("missing"), "No such file")
    try:
        pye.load(path("missing"))
    except pye.LoadError as error:
        assert error.errno == 2 and error.filename == path("missing"), error
    refused(HERE, "regular file")
    os.mkfifo(path("pipe"))
    refused(path("pipe"), "regular file")


def elsewhere():
    """Other processes, with interpreters at other addresses where the kernel chooses them."""
    program = """import pye, sys
value = pye.load(sys.argv[1])
print(len(value), value[19_999], sum(len(row[0]) for row in value))"""
    expected = "20000 %r %d" % (VALUE[19_999], sum(len(row[0]) for row in VALUE))
    for _ in range(4):
        assert child(program, path("cache")) == expected
    os.replace(path("cache"), path("gone"))
    pye.dump("new", path("cache"))
    assert pye.load(path("cache")) == "new"


def main():
    pye.dump(VALUE, path("cache"))
    data = read("cache")
    verified(data)
    damaged(data)
    based(data)
    untrusted(data)
    if len(sys.argv) > 2:
        refused(sys.argv[2], "another build")
        refused(sys.argv[2], "another build", verify=True)
    elsewhere()
    print("done")


main()
