"""Types made by the bodies of classes: enumerations, data classes, named tuples, slots, generic ones, metaclasses, abstract ones."""

import collections
import dataclasses
import enum
import functools
import inspect
import typing

from imaged import classes, generic
from show import show

show(list(classes.Colour), classes.Colour("red"), classes.Colour["größe"], classes.Colour.ALIAS is classes.Colour.RED, classes.Colour.GREEN.pretty)
show(list(classes.Flags), classes.Flags.A | classes.Flags.B, classes.Flags(3) is classes.Flags.AB, classes.Colour.__doc__, classes.Colour._member_map_)
item = classes.Item("name")
show(item, item.total(3), item < classes.Item("other"), classes.Item.__slots__, item.tags, dataclasses.asdict(item), dataclasses.fields(item)[0].name)
show(hash(classes.Frozen(x=1)) == hash(classes.Frozen(x=1)), classes.Frozen(x=1), dataclasses.replace(item, name="replaced"), item == classes.Item("name"))
show(classes.Pair("left"), classes.Pair(1, 2)._asdict(), classes.Pair._fields, classes.Typed("key"), classes.Typed._field_defaults, classes.Pair.__doc__)
show(classes.Dictionary(a=1), classes.Dictionary.__annotations__, typing.get_type_hints(classes.Typed), typing.get_type_hints(classes.Item))
slots = classes.Slots()
show(slots.private(), slots.größe, classes.Slots.__slots__, [name for name in dir(slots) if "private" in name])
show(classes.WithMeta.options, classes.WithMeta.prepared, classes.Child.registered, classes.Child.made().must(), classes.Child.static(), classes.Child().cached)
show(classes.Base.__abstractmethods__, classes.Child.Inner.__qualname__, classes.Child.__mro__, classes.Protocol.__dict__.get("_is_protocol"))
for _ in range(20):
    classes.cached(1), classes.cached(_ % 3, text="other")
show(classes.cached.cache_info(), classes.dispatched(1), classes.dispatched("x"), classes.dispatched(None))
stack = generic.Stack[int]().push(1).push(2)
show(stack.pop(), generic.Stack.__type_params__, generic.first({"a": 1}), generic.Table, generic.Table.__value__, generic.first.__annotations__)
show(generic.Annotated.__annotations__, inspect.signature(generic.first), generic.Stack[str], generic.Stack.__parameters__)

# Made here from names and constants of the image.
for name in classes.Slots.__slots__[:2] + ("größe",):
    made = type(name, (classes.Slots,), {"__slots__": (name + "_",), name + "__": property(lambda self, name=name: name)})
    show(made.__name__, made.__slots__, getattr(made(), name), getattr(made(), name + "__"))
show(enum.Enum("Made", classes.Slots.__slots__[:2]), collections.namedtuple("Made", classes.Pair._fields)(1, 2))
made = dataclasses.make_dataclass("Made", [(field.name, field.type) for field in dataclasses.fields(classes.Item)][:2])
show(made("a", 1), functools.reduce(lambda a, b: a + b, classes.Child.static()[:1]), classes.Child.__doc__)
show(sorted(vars(classes.Child)), sorted(vars(classes.Item)), sorted(vars(classes.Colour)))
del classes.Child.must
show(hasattr(classes.Child, "must"), classes.Child.must.__qualname__)
classes.Slots.added = 1
show(classes.Slots().added, setattr(classes.Colour, "extra", 1), classes.Colour.extra)
