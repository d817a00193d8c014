"""The module that is edited while the application runs: what it says, and when it says it."""
import os
import subprocess

NAME = "release.py"

# All constants tell the number, in each way that a constant can be loaded. Two releases differ in no file size: what tells
# them apart is the time of the source.
SOURCE = '''"""%(text)s"""
NUMBER = %(number)d
TEXT = "The text of a module, long enough to be mapped. %(text)s"


def describe():
    """What this function returns. %(text)s"""
    return ["%(text)s", "also as a constant of a function: %(text)s", 1%(padded)s]
'''


def text_of(number):
    """The sentence that is in all texts of a release: longer than what packages cut out, and not the same twice."""
    return "Release %06d. " % number + " ".join("This is line %d of release %06d." % (line, number) for line in range(20))


def source_of(number):
    return SOURCE % {"text": text_of(number), "number": number + 1000000, "padded": "%06d" % number}


def answer_of(number):
    """What a worker answers that has imported this release, but for what loaded it."""
    text = text_of(number)
    return {"module": text, "number": number + 1000000, "text": "The text of a module, long enough to be mapped. " + text,
            "function": "What this function returns. " + text,
            "returned": [text, "also as a constant of a function: " + text, 1000000 + number]}


class Releases:
    """Puts releases in a directory, one after the other. `oldest` to `newest` are those that an import may find now: two while one
    replaces the other."""

    # Long ago, so that no time is now; each release two seconds after the one before, since a .pyc knows whole seconds.
    BEGAN = 1500000000

    def __init__(self, python, directory):
        self._python = python
        self._path = os.path.join(str(directory), NAME)
        self.oldest = self.newest = 0
        self._write(0)

    def next(self):
        """One more, in one step; then its .pyc, as an installer leaves it."""
        self.newest += 1
        self._write(self.newest)
        self.oldest = self.newest

    def _write(self, number):
        part = self._path + ".part"
        with open(part, "w") as file:
            file.write(source_of(number))
        time = self.BEGAN + 2 * number
        os.utime(part, (time, time))
        os.replace(part, self._path)
        subprocess.run([str(self._python), "-m", "py_compile", self._path], check=True)


def difference(answer, oldest, newest):
    """What is wrong with the answer of a worker that was asked when `oldest` was the release, and had answered when `newest` was; None
    if it is right."""
    said = {name: value for name, value in answer.items() if name != "loader"}
    for number in range(oldest, newest + 1):
        if said == answer_of(number):
            return None
    return "release %s, expected one of %d to %d%s" % (
        said.get("number", 0) - 1000000, oldest, newest,
        "" if said == answer_of(said.get("number", 0) - 1000000) else ", or constants of more than one: %r" % said)
