"""What a program interns, of all kinds of text, after others have interned the same or before; and an end without handlers, as the children of
`multiprocessing` have it.
"""

import atexit
import os
import sys

from imaged import constants, names, text
from show import show

texts = [names.long_name(), names.long_text(), text.ASCII, text.ascii_text(), text.latin_text(), text.wide_text(), text.widest_text(),
         text.documented.__doc__, *text.table(), *names.attribute_names(), *names.known_names()]
for number, each in enumerate(texts):
    other = "".join(list(each))
    if number % 2:
        first, second = sys.intern(other), sys.intern(each)
    else:
        first, second = sys.intern(each), sys.intern(other)
    show(each, first is second, first == each, sys.intern(each) is first)
# Interned as attributes, which makes strings immortal in some versions.
for each in texts:
    setattr(constants, each, each)
    show(getattr(constants, each) == each)

sys.stdout.flush()
child = os.fork()
if child:
    # A crash at its end is the number of a signal.
    show(os.waitpid(child, 0)[1])
else:
    atexit._clear()

    # After the handlers would have run.
    from imaged import hot  # noqa: E402

    show(hot.calls(10), sys.intern(names.joined()[0]))
