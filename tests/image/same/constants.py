"""Constants as values: what they are, what they are one with, and what can be done with them."""

import copy
import math
import sys

from imaged import constants
from show import describe, show

for name in ("NUMBERS", "BYTES", "TEXTS", "NESTED"):
    show(name, describe(getattr(constants, name)))
for function in (constants.numbers, constants.bytestrings, constants.texts, constants.nested, constants.keywords):
    show(function.__name__, describe(function()))
for function in (constants.single_numbers, constants.single_bytes, constants.single_texts):
    show(function.__name__, describe(tuple(function())))

# One with the interpreter's own.
show([number is int(str(number)) for number in constants.numbers() if type(number) is int])
show([text is (chr(ord(text)) if len(text) == 1 else "".join([])) for text in constants.texts() if len(text) < 2 and ascii(text) < "'\\u"])
show([data is bytes(data) or len(data) for data in constants.bytestrings()], constants.nested()[0] is ())
show(constants.numbers() is constants.numbers(), constants.numbers()[-1] is ..., constants.numbers()[-2] is None)

# Zeros and NaN.
minus, plus, nan = list(constants.single_numbers())[1:4]
show(math.copysign(1, minus), math.copysign(1, plus), nan == nan, nan != nan, nan in [nan], math.isnan(nan))

# In sets of constants; what cannot be hashed is not looked for.
for value in ("a", "sea", "a text with spaces", "größe", "\u20ac", "\U0001f40d", "not there", 1, 1.0, True, 2.5, 10**20, -1, 1j, None, ..., b"x",
              (1, 2), ("x", (3.0, b"y")), -0.5, (1, "a"), ((), "c"), "only"):
    tests = (constants.in_texts, constants.in_numbers, constants.in_mixed, constants.in_tuples, constants.in_one, constants.in_list)
    show(repr(value), [test(value) for test in tests])
for value in ([], {}, set(), {"a"}, bytearray(b"x")):
    for test in tests[:5]:
        try:
            show(test(value))
        except TypeError as error:
            show(type(error).__name__, error)
for test in tests[:5]:
    sets = [each for each in test.__code__.co_consts if isinstance(each, frozenset)]
    show(test.__name__, [(type(each).__name__, len(each), each == frozenset(list(each)), hash(each) == hash(frozenset(list(each)))) for each in sets])
    show([sorted(map(repr, each | {"added"})) for each in sets], [copy.copy(each) is each for each in sets])

# Slices, which are constants from 3.14 on.
show(constants.sliced("sequence"), constants.sliced([1, 2, 3]), constants.sliced((1, 2, 3)), constants.assigned(list("abcdef")))
slices = [each for each in constants.sliced.__code__.co_consts if isinstance(each, slice)]
show(sorted(map(repr, slices)), [each.indices(10) for each in slices if each.stop != 10**30])
if sys.version_info >= (3, 12):
    show([hash(each) == hash(copy.deepcopy(each)) for each in slices])

# As operands, keys and members.
numbers = [each for each in constants.numbers() if type(each) is int]
show([each + 1 for each in numbers], [-each for each in numbers], [each * each % 1000003 for each in numbers], [each >> 3 for each in numbers])
show([each.bit_length() for each in numbers], sorted(numbers), sum(numbers), [hash(each) for each in numbers], [str(each) for each in numbers])
show({each: 1 for each in constants.nested()}, {each for each in constants.numbers() if each == 0}, hash(constants.nested()) == hash(constants.nested()))
show([hash(each) == hash(eval(repr(each))) for each in constants.nested() + constants.texts() + constants.bytestrings()])
show([data + b"!" for data in constants.bytestrings()], [data[::-1] for data in constants.bytestrings()], [list(data[:3]) for data in constants.bytestrings()])
show([memoryview(data).tobytes() == data for data in constants.bytestrings()], [ascii(constants.formatted(each)) for each in constants.texts()])
