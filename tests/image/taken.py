"""Takes addresses, then imports: an image whose place is taken is not used.

    taken.py ROOT PACKAGE ADDRESS    one page is mapped at ADDRESS, before anything is activated
"""

import ctypes
import os
import sys

root, package, address = sys.argv[1], sys.argv[2], int(sys.argv[3])
# include/uapi: PROT_NONE; MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE.
PROTECTION, FLAGS = 0, 0x02 | 0x20 | 0x100000
mmap = ctypes.CDLL(None, use_errno=True).mmap
mmap.restype, mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
assert mmap(address, 4096, PROTECTION, FLAGS, -1, 0) == address, os.strerror(ctypes.get_errno())

sys.path.insert(0, os.environ["PYE_TEST_SITE"])
import pye  # noqa: E402

sys.path[0] = root
pye.activate([(root, package)], origin="test")
from imaged import classes, constants, hot  # noqa: E402

assert hot.calls(100) and constants.in_mixed("x") and classes.Item("x").total(2) == 1.0
store = pye.status()["activations"][0]["loaded"]["stores"][0]
assert store["loaded"] >= 3, store
if store["image"]["state"] != "mapped":
    # A process that is refused is as it was.
    with open("/proc/self/maps") as maps:
        # The package itself is mapped shared, its image privately.
        left = [line for line in maps if package in line and line.split()[1].endswith("p")]
    assert not left, left
print(store["image"]["loaded"], store["image"]["state"])
