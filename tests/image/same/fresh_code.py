"""Code objects that have not run: every field at every depth, the adaptive instructions with their counters among them."""

import importlib.util

import imaged
from show import codes, describe, show

for name in [*imaged.QUIET, "switched", "ending", "__main__"]:
    name = "imaged." + name
    code = importlib.util.find_spec(name).loader.get_code(name)
    show("==", name, describe(code))
    for each in codes(code):
        show(each.co_qualname, each.co_filename == code.co_filename, each == code, hash(each) == hash(each), bool(each.co_linetable))
