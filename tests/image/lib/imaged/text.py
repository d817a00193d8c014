"""Long texts, whose characters are in the file and only the header in the image. This one is long itself, as docstrings are."""

ASCII = "A text of the body of a module: it is only ASCII, and long enough to have its characters in the blob section."
LATIN = "Ein Text im Körper eines Moduls: er ist nicht nur ASCII, und lang genug für die Abschnitte der Zeichen."
WIDE = "A text of the body of a module: \u20ac takes two bytes, and it is long enough to have its characters in a section."
WIDEST = "A text of the body of a module: \U0001f40d takes four bytes, and it is long enough to have its characters there."


def ascii_text():
    """The docstring of a function that is never printed, unless somebody asks for it, and long enough to be mapped."""
    return "A text of a function: it is only ASCII, and long enough to have its characters in the section of blobs."


def latin_text():
    return "Ein Text einer Funktion: er ist nicht nur ASCII, und lang genug für die Abschnitte der gemeinsamen Zeichen."


def wide_text():
    return "A text of a function: \u20ac takes two bytes, and it is long enough to have its characters in a section."


def widest_text():
    return "A text of a function: \U0001f40d takes four bytes, and it is long enough to have its characters in a section."


def table():
    return ("A text in a tuple of a function: it is only ASCII, and long enough to have its characters in the blobs.",
            "Another text in a tuple of a function: \u20ac is in it, and it is long enough to have its characters there.")


def member(value):
    return value in {"A text in a set of a function: it is only ASCII, and long enough to have its characters in the blobs.", "short"}


def documented():
    """Ein Text, der nicht nur aus ASCII besteht: Größe, Maß, und lang genug, um abgebildet zu werden. Dokumentation."""
