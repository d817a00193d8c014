"""canary.py LIBRARY NAME: makes the error NAME, or none. The checker must report it, and nothing else."""
import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.peek.argtypes = [ctypes.c_size_t]
# Of a size that no free list keeps.
thing = b"x" * 5000


def past_an_object():
    library.peek(id(thing) + sys.getsizeof(thing))


def freed_object():
    global thing
    address = id(thing) + 1000
    thing = None
    library.peek(address)


name = sys.argv[2]
if name == "none":
    library.peek(id(thing) + sys.getsizeof(thing) - 1)
elif name in ("overrun", "use_after_free", "undecided"):
    getattr(library, name)()
else:
    {"past_an_object": past_an_object, "freed_object": freed_object}[name]()
print("end")
