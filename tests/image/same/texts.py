"""Texts of the image in operations that could write to them, and in those that hand them on."""

import io
import json
import re
import string

from imaged import names, text
from show import show

show(ascii(names.grows(20)), names.grows(20), len(names.grows_from_empty(5000)), names.grows_bytes(20), names.grows_bytes(0), names.joined())
show(names.concatenated("value"), names.concatenated("größe"), names.grows(0) is names.grows(0))
texts = [text.ascii_text(), text.latin_text(), text.wide_text(), text.widest_text(), *text.table(), text.ASCII, text.LATIN, text.WIDE, text.WIDEST]
texts += [text.__doc__, text.ascii_text.__doc__, text.documented.__doc__]
for each in texts:
    copied = "".join(list(each))
    grown = each
    grown += "!"
    grown *= 2
    show(each == copied, hash(each) == hash(copied), grown == (copied + "!") * 2, len(each), ascii(max(each)), each.isascii())
    show(each.upper() == copied.upper(), each.split()[:3], each.partition(" is ")[0], each.replace("is", "was")[:50], each.encode()[:20], each[5:9])
    show(re.findall(r"\w+", each)[-2:], json.dumps(each) == json.dumps(copied), each.title()[:30], string.Template(each).substitute() == copied)
    show(io.StringIO(each).getvalue() == copied, each.join("ab")[:3], "%s" % each == copied, f"{each}" == copied, each.find("long"), each in {copied})
    show({each: 1}[copied], each.casefold() == copied.casefold(), each.startswith(copied[:10]), text.member(each), str(each) is each)
show(text.member("short"), text.member("A text"))
