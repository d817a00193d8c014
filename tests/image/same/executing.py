"""Code objects of the image in other hands: exec, eval, FunctionType, assigned to __code__, compared, hashed, sorted by."""

import types

from imaged import constants, functions, hot, names
from show import FIELDS, codes, describe, show

# In a namespace of its own.
made = types.FunctionType(hot.globals_and_builtins.__code__, {"SCALE": 5, "__builtins__": __builtins__})
show([made(10) for _ in range(50)][-1], made.__name__, made.__qualname__, made.__doc__, hot.globals_and_builtins(10), made.__code__ is hot.globals_and_builtins.__code__)
closed = functions.counter.__code__
inner = [code for code in codes(closed) if code.co_name == "increase"][0]
cells = tuple(types.CellType(value) for value in (10, 5))
increase = types.FunctionType(inner, {}, "increase", (None,), cells)
show(inner.co_freevars, increase(), increase(2), cells[0].cell_contents)


def stand_in(a, b=10, *, c=100):
    return None


stand_in.__code__ = functions.adder.__code__
show(stand_in(1), [stand_in(k) for k in range(100)][-1], stand_in.__name__)
before = functions.looped.__code__
functions.looped.__code__ = functions.recursive.__code__.replace(co_names=("looped",) if functions.recursive.__code__.co_names else ())
show(functions.looped(5))
functions.looped.__code__ = before
show(functions.looped(5))

# Compared and hashed.
every = [each for module in (constants, functions, hot, names) for each in vars(module).values() if isinstance(each, types.FunctionType)]
all_codes = [code for function in every for code in codes(function.__code__)]
FIELDS = [name for name in FIELDS if name != "_co_code_adaptive"]
show(len(all_codes), len(set(all_codes)), [code == code.replace() for code in all_codes], [code != other for code, other in zip(all_codes, all_codes[1:])])
show([hash(code) == hash(code.replace()) for code in all_codes], {code: code.co_name for code in all_codes}[functions.looped.__code__])
hot.arithmetic(200)
hot.calls(200)
show([code == code.replace() for code in all_codes], [hash(code) == hash(code.replace()) for code in all_codes], [code in set(all_codes) for code in all_codes])
show([function == function for function in every], len({function: 1 for function in every}), [hash(function) == hash(function) for function in every])
source = open(functions.__file__, encoding="utf-8").read()
compiled = {code.co_qualname: code for code in codes(compile(source, functions.__file__, "exec", dont_inherit=True))}
for code in all_codes:
    if code.co_filename == functions.__file__ and "lambda" not in code.co_qualname:
        show(code.co_qualname, compiled[code.co_qualname] == code, describe(compiled[code.co_qualname], FIELDS) == describe(code, FIELDS))

# Attributes cannot be set, of code or of constants.
for code in all_codes[:5]:
    for attribute in ("co_name", "co_consts", "new"):
        try:
            setattr(code, attribute, 1)
        except (AttributeError, TypeError) as error:
            show(type(error).__name__, error)
function = functions.adder
function.attribute = "set"
function.__defaults__ = (20,)
function.__kwdefaults__ = {"c": 1}
function.__doc__ = "documented"
function.__name__ = names.attribute_names()[2]
function.__annotations__["a"] = int
show(vars(function), function(1), function.__doc__, function.__name__, function.__annotations__)
