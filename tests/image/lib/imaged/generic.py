"""Type parameters, whose scopes are functions of their own, and type aliases."""


class Stack[T]:
    def __init__(self) -> None:
        self.items: list[T] = []

    def push(self, item: T) -> "Stack[T]":
        self.items.append(item)
        return self

    def pop(self) -> T:
        return self.items.pop()


def first[K, V: (int, str)](table: dict[K, V]) -> V:
    return next(iter(table.values()))


type Table[K] = dict[K, list[K]]


class Annotated:
    a: int = 1
    b: "list[Annotated]"
    c: Table[str]
