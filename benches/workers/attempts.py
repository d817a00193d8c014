"""A measurement of hours does not end because one contender fails: it is left out from there on, and the reason is kept."""
import contextlib

import timing


@contextlib.contextmanager
def attempt(failed, name):
    """What goes wrong within is kept in `failed` under `name`, and ends no more than the block. What is not an Exception (an interrupt)
    passes."""
    try:
        yield
    except Exception as error:
        failed[name] = "%s: %s" % (type(error).__name__, error)


def in_turn(those, rounds, failed, what, do):
    """What `do(round, contender)` returned, for each contender by name the list of all rounds; of those that take turns. One that fails
    is not among them."""
    found = {one.name: [] for one in those}
    for number, one in timing.in_turn(those, rounds):
        name = "%s: %s" % (what, one.name)
        if name not in failed:
            with attempt(failed, name):
                found[one.name].append(do(number, one))
        if name in failed:
            found.pop(one.name, None)
    return found
