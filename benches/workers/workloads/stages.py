"""What a measured worker does at the stages; it runs inside the measured processes.

Imported by them before their workload, so it imports nothing that the interpreter has not loaded itself, gc apart.
"""
import gc


def collect():
    """Stage B: a full collection. It writes the header of every object that the collector knows."""
    gc.collect()


def sweep():
    """Stage D: takes and drops a reference to every object the collector knows, frozen ones included, and to the code and
    docstring of every function, as calling and inspecting them does: the worst case of a long life.

    Returns the number of objects.
    """
    frozen = gc.get_freeze_count() > 0
    if frozen:
        # gc.get_objects() leaves out frozen objects. Both calls join lists, and touch no object but those at the ends.
        gc.unfreeze()
    objects = gc.get_objects()
    function = type(sweep)
    for item in objects:
        if type(item) is function:
            item.__code__, item.__doc__
    number = len(objects)
    del objects, item
    if frozen:
        gc.freeze()
    return number
