"""Functions of every kind: exception tables, cells, free variables, defaults, annotations, comprehensions, patterns."""

import contextlib


def positional(a, b, /, c=3, *rest, d=4, **others):
    """Has parameters of every kind."""
    return a, b, c, rest, d, sorted(others.items())


def counter(start: int = 0, *, step: "a text with spaces" = 1):
    """Closes over its variables."""
    count = start

    def increase(by=None):
        nonlocal count
        count += step if by is None else by
        return count

    def look():
        return count

    return increase, look


def guarded(n):
    """Handlers in handlers."""
    seen = []
    try:
        try:
            seen.append(10 // n)
            if n == 5:
                raise KeyError("five")
        except ZeroDivisionError as error:
            seen.append(type(error).__name__)
            raise ValueError("zero") from error
        else:
            seen.append("else")
        finally:
            seen.append("finally")
    except ValueError as error:
        seen.append((str(error), type(error.__cause__).__name__))
    except KeyError as error:
        seen.append(error.args)
    return seen


def grouped(errors):
    """A group of exceptions, in parts."""
    seen = []
    try:
        raise ExceptionGroup("many", errors)
    except* ValueError as group:
        seen.append(("values", len(group.exceptions)))
    except* (KeyError, TypeError) as group:
        seen.append(("others", len(group.exceptions)))
    return seen


@contextlib.contextmanager
def noted(log, name):
    log.append("enter " + name)
    try:
        yield name
    except RuntimeError as error:
        log.append("swallowed " + str(error))
    finally:
        log.append("leave " + name)


def managed(fail):
    log = []
    with noted(log, "outer") as outer, noted(log, "inner"):
        log.append(outer)
        if fail:
            raise RuntimeError("inside")
    return log


def comprehended(n):
    pairs = [(i, j) for i in range(n) for j in range(i) if i != j]
    squares = {i: i * i for i in range(n)}
    evens = {i for i in range(n) if not i % 2}
    lazy = (lambda f: f(i) for i in range(n))
    return pairs, squares, sorted(evens), [each(lambda x: -x) for each in lazy]


def matched(value):
    match value:
        case 0 | 1:
            return "small"
        case int(x) if x > 100:
            return "large"
        case [first, *rest]:
            return "sequence", first, rest
        case {"key": found, **others}:
            return "mapping", found, others
        case str() as text:
            return "text", text
        case None:
            return "nothing"
    return "other"


def generated(n):
    """Sent to, thrown into, delegating."""
    received = []
    for i in range(n):
        try:
            received.append((yield i))
        except LookupError as error:
            received.append(str(error))
    yield from received
    return "returned"


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def looped(n):
    total = 0
    for i in range(n):
        if i % 3 == 0:
            continue
        total += i
        if total > 1000:
            break
    else:
        total = -total
    while total > 10:
        total //= 2
    return total


adder = lambda a, b=10, *, c=100: a + b + c  # noqa: E731


def many_arguments(a00, a01, a02, a03, a04, a05, a06, a07, a08, a09, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19):
    return (a00, a01, a02, a03, a04, a05, a06, a07, a08, a09, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19)
