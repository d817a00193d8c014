"""marshal, pickle, copy and code.replace of code, functions and constants of the image; and functions pickled by value."""

import copy
import copyreg
import io
import marshal
import pickle
import types

from imaged import classes, constants, functions, hot, text
from show import FIELDS, codes, describe, show

# What has run is not what was: its counters have moved.
FIELDS = [name for name in FIELDS if name != "_co_code_adaptive"]
every = [function for function in vars(functions).values() if isinstance(function, types.FunctionType)]
every += [function for function in vars(constants).values() if isinstance(function, types.FunctionType)]
every += [function for function in vars(text).values() if isinstance(function, types.FunctionType)]
every += hot.ALL
hot.calls(100)
for function in every:
    code = function.__code__
    for version in (2, 3, 4):
        try:
            data = marshal.dumps(code, version)
        except ValueError as error:
            show(code.co_qualname, version, error)
            continue
        again = marshal.loads(data)
        show(code.co_qualname, again == code, describe(again, FIELDS) == describe(code, FIELDS), hash(again) == hash(code))
    for each in codes(code):
        # NaN is not equal to itself.
        same = each.replace()
        show(same == each, same is each, describe(same, FIELDS) == describe(each, FIELDS))
        other = each.replace(co_name="other", co_qualname="other.other", co_firstlineno=7, co_filename="elsewhere", co_consts=(*each.co_consts, "more"))
        show(other == each, other.co_name, other.co_consts[-1], other.co_names == each.co_names, hash(other) == hash(each))
        show(copy.copy(each) is each, copy.deepcopy(each) is each)
    if function.__name__ != "<lambda>":
        show(pickle.loads(pickle.dumps(function)) is function)
    show(copy.copy(function) is function, copy.deepcopy(function) is function)

for values in (constants.numbers(), constants.bytestrings(), constants.texts(), constants.nested(), text.table()):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        show(describe(pickle.loads(pickle.dumps(values, protocol))) == describe(values))
    try:
        show(describe(marshal.loads(marshal.dumps(values))) == describe(values))
    except UnicodeError as error:
        show(type(error).__name__)
    show(copy.deepcopy(values) is values, copy.copy(values) is values, describe(copy.deepcopy([values, {"key": values}])[0]) == describe(values))
for test in (constants.in_texts, constants.in_mixed, constants.in_tuples):
    members = [each for each in test.__code__.co_consts if isinstance(each, frozenset)]
    show([pickle.loads(pickle.dumps(each)) == each for each in members], [marshal.loads(marshal.dumps(each)) == each for each in members])


# By value, as cloudpickle does it: from the arguments that make a code object.
ARGUMENTS = ("argcount posonlyargcount kwonlyargcount nlocals stacksize flags code consts names varnames filename name qualname firstlineno "
             "linetable exceptiontable freevars cellvars").split()


def make(arguments, values, defaults, keyword_defaults):
    cells = tuple(types.CellType(value) for value in values)
    function = types.FunctionType(types.CodeType(*arguments), {"__builtins__": __builtins__}, None, defaults, cells)
    function.__kwdefaults__ = keyword_defaults
    return function


def make_code(*arguments):
    return types.CodeType(*arguments)


class ByValue(pickle.Pickler):
    def reducer_override(self, value):
        if isinstance(value, types.FunctionType) and "imaged" in value.__code__.co_filename:
            cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
            return make, (tuple(getattr(value.__code__, "co_" + name) for name in ARGUMENTS), cells, value.__defaults__, value.__kwdefaults__)
        if isinstance(value, types.CodeType):
            return make_code, tuple(getattr(value, "co_" + name) for name in ARGUMENTS)
        return NotImplemented


def by_value(value):
    out = io.BytesIO()
    ByValue(out).dump(value)
    return pickle.loads(out.getvalue())


increase, look = functions.counter(5, step=3)
increase()
for function, arguments in ((functions.positional, (1, 2)), (increase, ()), (look, ()), (functions.looped, (50,)), (functions.adder, (1,)),
                            (functions.comprehended, (3,)), (functions.guarded, (5,)), (constants.in_texts, ("a",)), (text.table, ())):
    again = by_value(function)
    show(function.__qualname__, again is function, again(*arguments) == function(*arguments), again.__code__ == function.__code__, again.__doc__)

# The names and constants of one in the code of another.
mixed = functions.adder.__code__.replace(co_consts=hot.callee.__code__.co_consts + functions.adder.__code__.co_consts)
show(types.FunctionType(mixed, {}, "mixed", (10,))(1, c=2) if len(hot.callee.__code__.co_consts) == 0 else mixed.co_consts)
show(copyreg.__newobj__.__name__, pickle.loads(pickle.dumps(classes.Item("a", 1.0))), copy.replace(classes.Frozen(x=1), y=3) if hasattr(copy, "replace") else None)
