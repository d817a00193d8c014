"""Names and texts that become keys, attributes and parts of other texts."""


class Holder:
    known = "attribute"

    def __getattr__(self, name):
        return "missing " + name


def attribute_names():
    return ["plain_name", "another_name_of_no_other_module", "a name with spaces", "", "größe", "\u20ac", "\U0001f40d", "dotted.name", "1"]


def known_names():
    return ["keys", "__init__", "append", "self", "__doc__", "return", "é"]


def long_name():
    return "a_name_that_is_longer_than_sixty_four_characters_and_is_an_identifier_all_the_same_so_interned"


def long_text():
    return "a text that is longer than sixty-four characters, with spaces, so that it is not interned by the compiler"


def as_keys():
    return {"plain_name": 1, "a name with spaces": 2, "größe": 3, "": 4, "another_key_of_no_other_module": 5}


def dictionary_with(key):
    return {key: "by parameter", "plain_name": "by constant"}


def uses_attributes(holder):
    holder.first_attribute_of_no_other_module = 1
    holder.second_attribute_of_no_other_module = "two"
    return holder.first_attribute_of_no_other_module, holder.second_attribute_of_no_other_module, holder.third


def grows(times):
    text = "a constant of the image"
    for _ in range(times):
        text += "!"
    return text


def grows_from_empty(times):
    text = ""
    for _ in range(times):
        text += "x"
    return text


def grows_bytes(times):
    data = b"bytes"
    for _ in range(times):
        data += b"!"
    return data


def joined():
    return ", ".join(("a constant", "another", "größe")), "".join(["x"]), "-".join("abc"), "only".join(["one"])


def concatenated(value):
    return "before " + value + " after", "constant" "folded", "%s and %r" % ("a", "b"), "a" * 5


def declares_globals():
    global made_by_function
    made_by_function = "made"
    return made_by_function


def keyword_call(function):
    return function(first_keyword_of_no_other_module=1, **{"second keyword": 2})


def imports_inside():
    import string as renamed
    from collections import OrderedDict as Renamed

    return renamed.__name__, Renamed.__name__


PLAIN = "plain_name"
__all__ = ["Holder", "PLAIN", "grows"]
__private_of_module = "private"
