"""Raises: for tracebacks, and where in the line they point."""


def outer(n):
    return (1 + inner(n)) * 2


def inner(n):
    # A comment is not in the code.
    value = {"key": [1, 2, n]}
    return value["key"][0] + value["key"][2]["no such index"] + len("after it")


def divides(a, b):
    return [
        a
        / b
        for _ in range(1)
    ]


class Odd:
    def method(self):
        return self.nothing.at_all


def chained():
    try:
        divides(1, 0)
    except ZeroDivisionError as error:
        raise RuntimeError("chained") from error


def deep(n):
    return deep(n - 1) if n else outer(1)


CALLS = [lambda: outer(1), lambda: divides(1, 0), lambda: Odd().method(), chained, lambda: deep(3), lambda: undefined_name]  # noqa: F821
