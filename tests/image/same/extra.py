"""co_extra: data that debuggers and profilers attach to code objects, set before and after code runs, replaced and freed."""

import ctypes
import gc

from imaged import functions, hot
from show import codes, show

api, libc = ctypes.pythonapi, ctypes.CDLL(None)
request, get, put = (getattr(api, "PyUnstable_" + name) for name in ("Eval_RequestCodeExtraIndex", "Code_GetExtra", "Code_SetExtra"))
request.argtypes, request.restype = [ctypes.c_void_p], ctypes.c_ssize_t
get.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_void_p)]
put.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.c_void_p]
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
# The C library notices what is freed twice.
indices = [request(ctypes.cast(libc.free, ctypes.c_void_p)) for _ in range(2)]


def extra(code, index):
    """The number that is attached, if one is."""
    found = ctypes.c_void_p()
    assert get(code, index, ctypes.byref(found)) == 0
    return found.value and ctypes.c_int.from_address(found.value).value


def attach(code, index, number):
    memory = libc.malloc(64)
    ctypes.c_int.from_address(memory).value = number
    assert put(code, index, memory) == 0


every = [function.__code__ for function in (functions.looped, functions.guarded, *hot.ALL)]
every += [inner for code in every for inner in list(codes(code))[1:]]
show(len(every), [extra(code, index) for code in every for index in indices])
for number, code in enumerate(every, 1):
    attach(code, indices[number % 2], number)
show([[extra(code, index) for index in indices] for code in every])
hot.calls(200)
functions.looped(20)
# The second replaces the first, which is freed; what has the other index stays.
for number, code in enumerate(every, 1):
    attach(code, indices[1], number * 10)
show([[extra(code, index) for index in indices] for code in every])
copied = functions.looped.__code__.replace(co_name="copied")
show(extra(copied, indices[0]))
attach(copied, indices[0], 8)
show(extra(copied, indices[0]))
del copied
gc.collect()
for code in every[::2]:
    assert put(code, indices[0], None) == 0
# The rest is there when the interpreter ends.
show([extra(code, index) for code in every for index in indices])
