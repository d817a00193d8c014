"""Byte-compiles sources, one a line of standard input, to where the interpreter puts them, and answers each with an empty line.

So it ends with the process that asks, killed or not, after one source at most.
"""
import os
import py_compile
import sys

# Whatever the umask, nobody else may write to the directories and files that Python makes for them.
os.umask(os.umask(0o022) | 0o022)
for line in sys.stdin.buffer:
    try:
        py_compile.compile(os.fsdecode(line[:-1]), doraise=True, quiet=2)
    except Exception:
        # Not meant to compile, or not to be read: the import would say so.
        pass
    sys.stdout.write("\n")
    sys.stdout.flush()
