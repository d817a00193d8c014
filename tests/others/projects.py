"""The list of projects."""
import configparser
import pathlib

LIST = pathlib.Path(__file__).resolve().parent / "projects.ini"
# Arguments of pytest that leave something out.
LEAVING = ("--ignore", "--deselect", "-k", "-m")
KEYS = {"version", "extras", "requires", "packages", "without", "links", "tests", "arguments", "least", "left out"}
NEEDED = ("version", "requires", "packages", "tests", "least")


class Project:
    """An entry of the list; projects.ini says what is in it.

    version    the release for one version of Python
    requires   what to install, the project first
    parts      for each run of pytest its paths and options, by the first of them
    paths      all paths of them
    """

    def __init__(self, name, entry, python):
        self.name = name
        here = "version on %d.%d" % tuple(python)
        unknown = [key for key in entry if key not in KEYS and not key.startswith("version on ")]
        lacking = [key for key in NEEDED if not entry.get(key, "").strip()]
        if unknown or lacking:
            raise ValueError("[%s]: wants %s, and knows no %s" % (name, ", ".join(lacking or NEEDED), ", ".join(unknown) or "more"))
        self.version = entry.get(here, entry["version"])
        extras = entry.get("extras", "").split()
        self.requires = ["%s%s==%s" % (name, "[%s]" % ",".join(extras) if extras else "", self.version)] + _lines(entry["requires"])
        self.packages = entry["packages"].split()
        self.without = entry.get("without", "").split()
        self.links = entry.get("links", "").split()
        lines = [line.split() for line in _lines(entry["tests"])]
        self.parts = {line[0]: line for line in lines}
        if len(self.parts) != len(lines):
            raise ValueError("[%s]: runs must not begin with the same path" % name)
        self.paths = [word for line in lines for word in line if not word.startswith("-")]
        self.arguments = _lines(entry.get("arguments", ""))
        self.least = int(entry["least"])
        self.left_out = " ".join(entry.get("left out", "").split())
        if not self.left_out and any(word.startswith(LEAVING) for word in self.arguments):
            raise ValueError("[%s]: leaves tests out and does not say why: `left out`" % name)


def _lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def read(python, path=LIST):
    """The projects for a version of Python, (3, x); ValueError where an entry is wrong."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    return [Project(name, parser[name], python) for name in parser.sections()]


def select(projects, wanted):
    """Of the projects those named; all where none is. ValueError for a name that is none."""
    if wanted is None:
        return projects
    unknown = set(wanted) - {each.name for each in projects}
    if unknown or not wanted:
        raise ValueError("no project %s: there are %s" % (", ".join(sorted(unknown)) or "named", ", ".join(each.name for each in projects)))
    return [each for each in projects if each.name in wanted]
