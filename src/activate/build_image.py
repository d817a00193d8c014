# Run in the interpreter that an image is for, with -I -S -B: gives a package one. Prints the bytes of .pyc done, a line a module, then the report as JSON.
import gc
import json
import sys

directory, path, root, profile, relocate = sys.argv[1:]
sys.path.insert(0, directory)
# All code of a large tree is loaded and dropped again: nothing of it is cyclic.
gc.disable()

from pye._native import build_image  # noqa: E402

report = build_image(path, root, path, profile or None, lambda size: print(size, flush=False), relocate)
print(json.dumps(report))
