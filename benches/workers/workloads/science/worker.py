"""Workers of the science workload, started as worker.py MODE DIRECTORY FIRST FD...: one for each file descriptor.

MODE       fork      forks, and each child imports
           preload   imports, and forks
           freeze    the same with gc.freeze() before the fork, as the documentation of gc has it
           spawn     is the only worker
DIRECTORY  where the workers may write
FIRST      the number of the first worker; it decides what data it works on
FD         a socket of each worker: it says {"pid": …, "namespace": the inode number of its PID namespace} when it is at stage A,
           then reads one word a line (collect, work, sweep), does it and answers with a line of JSON, until the socket is closed
"""
import gc
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import stages


def attend(fd, directory, number):
    """One worker, until its socket is closed."""
    with open(fd, "r+b", buffering=0) as socket:
        say = lambda value: socket.write(json.dumps(value).encode() + b"\n")
        say({"pid": os.getpid(), "namespace": os.stat("/proc/self/ns/pid").st_ino})
        # One word at a time is under way, so that a read returns one line.
        while True:
            word = socket.read(100).decode().strip()
            if not word:
                break
            if word == "collect":
                stages.collect()
                say({})
            elif word == "sweep":
                say({"objects": stages.sweep()})
            elif word == "work":
                from work import work
                say(work(directory, number))
            else:
                raise ValueError("no such stage: %r" % word)


def main():
    mode, directory, first, *fds = sys.argv[1:]
    first, fds = int(first), [int(fd) for fd in fds]
    if mode == "freeze":
        gc.disable()
    if mode != "fork":
        import imports
    if mode == "freeze":
        gc.freeze()
    if mode == "spawn":
        attend(fds[0], directory, first)
        return
    children = []
    for place, fd in enumerate(fds):
        child = os.fork()
        if child == 0:
            for other in fds[place + 1:]:
                os.close(other)
            if mode == "freeze":
                gc.enable()
            if mode == "fork":
                import imports
            attend(fd, directory, first + place)
            os._exit(0)
        os.close(fd)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    sys.exit(1 if failed else 0)


main()
