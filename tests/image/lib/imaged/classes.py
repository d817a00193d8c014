"""Types made from constants and names of the image."""

import abc
import collections
import dataclasses
import enum
import functools
import typing


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"
    GREEN = "green"
    größe = 3
    ALIAS = "red"

    @property
    def pretty(self):
        return f"<{self.name}>"


class Flags(enum.Flag):
    A = enum.auto()
    B = enum.auto()
    AB = A | B


@dataclasses.dataclass(order=True, slots=True)
class Item:
    """A data class with slots."""

    name: str
    price: float = 0.5
    tags: tuple[str, ...] = ("new", "a text with spaces")
    extra: list = dataclasses.field(default_factory=list, repr=False, compare=False)

    def total(self, count: int) -> float:
        return self.price * count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frozen:
    x: int
    y: int = 2


Pair = collections.namedtuple("Pair", "left right", defaults=["default"])


class Typed(typing.NamedTuple):
    """A typed tuple."""

    key: str
    value: "int | None" = None


class Dictionary(typing.TypedDict, total=False):
    a: int
    b: "str"


class Slots:
    __slots__ = ("one", "two", "__private", "größe")

    def __init__(self):
        self.one, self.two, self.__private, self.größe = 1, 2, 3, 4

    def private(self):
        return self.__private


class Meta(type):
    def __new__(cls, name, bases, namespace, **options):
        made = super().__new__(cls, name, bases, namespace)
        made.options = options
        return made

    def __prepare__(name, bases, **options):
        return {"prepared": tuple(options)}


class WithMeta(metaclass=Meta, first="a", second=b"b"):
    pass


class Base(abc.ABC):
    @abc.abstractmethod
    def must(self): ...

    def __init_subclass__(cls, /, registered=None, **others):
        super().__init_subclass__(**others)
        cls.registered = registered


class Child(Base, registered="yes"):
    class Inner:
        """Nested."""

        def method(self):
            return __class__.__qualname__

    def must(self):
        return super().must()

    @functools.cached_property
    def cached(self):
        return [self.Inner().method()]

    @classmethod
    def made(cls):
        return cls()

    @staticmethod
    def static(x=(1, "two")):
        return x


class Protocol(typing.Protocol):
    def quack(self) -> str: ...


@functools.lru_cache(maxsize=8)
def cached(n, *, text="constant"):
    return n, text


@functools.singledispatch
def dispatched(value):
    return "object"


@dispatched.register
def _(value: int):
    return "int"


@dispatched.register(str)
def _(value):
    return "str"
