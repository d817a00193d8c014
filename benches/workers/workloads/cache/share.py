"""share.py FORM FILE FREEZE WORKERS FD: opens a cache, forks workers, and has them read all of it when told.

FORM is pickle or pye, FREEZE 1 has gc.freeze() come before the fork. Writes to the socket FD, as a line of JSON: {"seconds": of opening,
"workers": their numbers}; reads a line; writes what each worker found: {"seconds": of reading, "sum": of what it read}.
"""
import gc
import json
import os
import sys
import time


def load(form, path):
    if form == "pye":
        import pye

        began = time.monotonic()
        return pye.load(path), time.monotonic() - began
    import pickle

    began = time.monotonic()
    with open(path, "rb") as file:
        cache = pickle.load(file)
    return cache, time.monotonic() - began


def read(value):
    """Takes a reference to every object and looks into it; the sum says that nothing was left out."""
    if type(value) is tuple:
        return sum(map(read, value))
    if type(value) is str:
        return len(value) + ord(value[-1])
    if type(value) is bytes:
        return len(value) + value[-1]
    if type(value) is complex:
        return int(value.imag)
    return 1 if value is None else int(value)


def work(cache, start, result):
    os.read(start, 1)
    began = time.monotonic()
    found = read(cache)
    seconds = time.monotonic() - began
    os.write(result, json.dumps({"seconds": seconds, "sum": found}).encode())
    # Lives, to be measured, until the parent's end of the pipe is closed.
    os.read(start, 1)
    os._exit(0)


def main():
    form, path, freeze, workers, fd = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    cache, seconds = load(form, path)
    if freeze:
        gc.disable()
        gc.freeze()
    children, starts, results = [], [], []
    for _ in range(workers):
        (hear, tell), (get, put) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            for other in (*starts, tell):
                os.close(other)
            if freeze:
                gc.enable()
            work(cache, hear, put)
        os.close(hear)
        os.close(put)
        children.append(child)
        starts.append(tell)
        results.append(get)
    with open(fd, "r+b", buffering=0) as socket:
        socket.write(json.dumps({"seconds": seconds, "workers": children}).encode() + b"\n")
        socket.read(100)
        for tell in starts:
            os.write(tell, b"r")
        socket.write(json.dumps([json.loads(os.read(get, 1000)) for get in results]).encode() + b"\n")
        # Until the other end is closed.
        socket.read(100)
    for tell in starts:
        os.close(tell)
    for child in children:
        os.waitpid(child, 0)
    # The cache need not be taken apart.
    os._exit(0)


main()
