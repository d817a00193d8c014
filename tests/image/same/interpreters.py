"""Other interpreters of the process import the same modules by themselves, while the main one has them from the image."""

import threading

from imaged import functions, hot
from show import show

try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

CODE = """if True:
    import sys
    from imaged import classes, constants, functions, hot, names, text
    assert functions.positional(1, 2)[0] == 1 and hot.arithmetic(100)[0] > 0 and hot.calls(100)
    assert constants.in_texts("sea") and text.documented.__doc__ and names.grows(3)
    assert sys.intern(names.long_name()) == names.long_name()
    assert classes.Item("a").total(2) == 1.0
"""


ended = []


def run():
    interpreter = _interpreters.create()
    # Up to 3.12 what fails is raised, afterwards returned.
    failed = _interpreters.run_string(interpreter, CODE)
    ended.append(failed)
    _interpreters.destroy(interpreter)


for _ in range(3):
    run()
    show(hot.arithmetic(50), functions.comprehended(3))
# One that is alive when the main one imports more, and ends after it.
interpreter = _interpreters.create()
show(_interpreters.run_string(interpreter, CODE))
from imaged import classes, constants, names, text  # noqa: E402

show(classes.Item("a"), constants.in_texts("sea"), names.grows(3), len(text.ascii_text()))
workers = [threading.Thread(target=run) for _ in range(2)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
show(ended)
show(_interpreters.run_string(interpreter, CODE))
_interpreters.destroy(interpreter)
show(constants.in_mixed("x"), names.as_keys())
