"""Constants of every type, each behind a function, so that it is a constant of function code; and the same in the module's body."""

NUMBERS = (0, 1, -1, -5, -6, 255, 256, 257, 1023, 1024, 1025, 2**15, 2**30 - 1, 2**30, -(2**30), 2**31, 2**60, 2**62, -(2**63), 2**64, 2**80,
           10**40, -(10**40), 0.0, -0.0, 1.5, 1e308, 5e-324, 1e999, -1e999, 1j, -0j, 1e999j, True, False, None, ...)
BYTES = (b"", b"a", b"\x00", b"\xff", b"two", b"\x00inside\x00", b"longer than sixty-four bytes, so that some part of it could be shared: " * 3)
TEXTS = ("", "a", "\x00", "\x7f", "\xe9", "\xff", "\u0100", "\U0001f40d", "two", "é!", "not an identifier", "is_an_identifier", "großer Bär",
         "\u20ac and more", "\U0001f40d and more", "\ud800", "lone \udcff surrogate", "with\x00nul",
         "longer than sixty-four characters, so that it is mapped text and not an object of its own",
         "länger als vierundsechzig Zeichen, damit es abgebildeter Text ist und kein eigenes Objekt für sich",
         "longer than sixty-four characters with a sign that takes two bytes: \u20ac, so that it is wide",
         "longer than sixty-four characters with a sign that takes four bytes: \U0001f40d, so that it is widest")
NESTED = ((), ((),), (1, (2, (3, ("four", b"five", 6.0, None)))), ("a", ("a", ("a",))), (-0.0, 0.0), (1, 1.0, True), ((1,), (1.0,), (True,)))


def numbers():
    return (0, 1, -1, -5, -6, 255, 256, 257, 1023, 1024, 1025, 2**15, 2**30 - 1, 2**30, -(2**30), 2**31, 2**60, 2**62, -(2**63), 2**64, 2**80,
            10**40, -(10**40), 0.0, -0.0, 1.5, 1e308, 5e-324, 1e999, -1e999, 1j, -0j, 1e999j, True, False, None, ...)


def single_numbers():
    yield 0
    yield -0.0
    yield 0.0
    yield 1e999 - 1e999
    yield 2**80
    yield -(10**40)
    yield 300
    yield 1.5j
    yield ...


def bytestrings():
    return (b"", b"a", b"\x00", b"\xff", b"two", b"\x00inside\x00",
            b"longer than sixty-four bytes, so that some part of it could be shared: " * 3)


def single_bytes():
    yield b""
    yield b"a"
    yield b"ab"


def texts():
    return ("", "a", "\x00", "\x7f", "\xe9", "\xff", "\u0100", "\U0001f40d", "two", "é!", "not an identifier", "is_an_identifier", "großer Bär",
            "\u20ac and more", "\U0001f40d and more", "\ud800", "lone \udcff surrogate", "with\x00nul",
            "longer than sixty-four characters, so that it is mapped text and not an object of its own",
            "länger als vierundsechzig Zeichen, damit es abgebildeter Text ist und kein eigenes Objekt für sich",
            "longer than sixty-four characters with a sign that takes two bytes: \u20ac, so that it is wide",
            "longer than sixty-four characters with a sign that takes four bytes: \U0001f40d, so that it is widest")


def single_texts():
    yield ""
    yield "a"
    yield "\xe9"
    yield "\u0100"
    yield "not an identifier"
    yield "is_an_identifier"
    yield "\ud800"


def nested():
    return ((), ((),), (1, (2, (3, ("four", b"five", 6.0, None)))), ("a", ("a", ("a",))), (-0.0, 0.0), (1, 1.0, True), ((1,), (1.0,), (True,)))


def in_texts(value):
    return value in {"a", "be", "sea", "a text with spaces", "größe", "\u20ac", "\U0001f40d"}


def in_numbers(value):
    return value in {1, 2.5, 10**20, -1, 1j}


def in_mixed(value):
    return value in {None, ..., "x", b"x", 1, (1, 2), ("x", (3.0, b"y")), -0.5}


def in_tuples(value):
    return value in {(1, "a"), (2, "b"), ((), "c")}


def in_one(value):
    return value in {"only"}


def in_list(value):
    return value in ["turned", "into", "a tuple"]


def sliced(sequence):
    return sequence[1:3], sequence[::-1], sequence[:], sequence[-2:], sequence[1:10**30], sequence[None:2:None]


def assigned(sequence):
    sequence[1:2] = "xyz"
    del sequence[0:1]
    return sequence


def keyed(**given):
    return given


def keywords():
    return keyed(one=1, two=2, größe=3)


def formatted(value):
    return f"{value!r:>20}|{value}|a constant part of it {value!s:.3}"
