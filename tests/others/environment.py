"""A project in a virtual environment, its tests, and runs of these."""
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile

from imports import Imports
from judging import process
from judging.command import Unusable, environment, output
from judging.interpreter import IMAGE, STOCK, served

HERE = pathlib.Path(__file__).resolve().parent
# Of pytest. That some files cannot be collected is in its report, test by test.
STATUSES = {0: "passed", 1: "failed", 2: "interrupted", 3: "internal error of pytest", 4: "wrong arguments", 5: "no tests ran"}
# Those that say nothing of the tests.
BROKEN = ("internal error of pytest", "wrong arguments", "no tests ran")
# Addresses of objects, in the ids of parametrised tests.
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


class Environment:
    """One project as installed. It takes all forms, one after the other, by what users run: `pye install` and `pye uninstall`. So nothing
    differs between them but what modules are imported from.

    python   the interpreter, and `about` what it says of itself
    project  a projects.Project
    site     directory with the package `pye`, which is copied into site-packages
    work     directory for what is made
    """

    def __init__(self, python, about, project, site, work):
        self.about = about
        self.project = project
        self.place = work / project.name
        self.tree = self.place / "tests"
        self.form = None
        self.installed = {}
        self._base = python
        self._pye = site
        self._prefix = self.place / "environment"
        self._python = self._prefix / "bin" / "python"

    def make(self):
        """Fetches, installs and lays out what is needed."""
        if self.place.exists():
            shutil.rmtree(self.place)
        self.place.mkdir(parents=True)
        self._new()
        self._pip("install", "--quiet", *self.project.requires)
        listed = json.loads(self._pip("list", "--format", "json"))
        self.installed = {each["name"]: each["version"] for each in listed}
        self.site = pathlib.Path(output(self._python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", env=environment()).strip())
        shutil.copytree(self._pye / "pye", self.site / "pye")
        shutil.copy(HERE / "pye_imports.py", self.site)
        self._lay_out(self._fetch())
        self.form = STOCK

    def _new(self):
        try:
            output(self._base, "-c", "import ensurepip", env=environment())
            make = [self._base, "-m", "venv"]
        except Unusable:
            # Of distributions that package it apart.
            make = [sys.executable, "-m", "virtualenv", "--quiet", "--python", self._base]
        output(*make, self._prefix, env=_with_pip())

    def _pip(self, *words):
        return output(self._python, "-m", "pip", "--disable-pip-version-check", "--no-input", *words, env=_with_pip())

    def _fetch(self):
        """The directory that the source distribution unpacks to."""
        name, place = self.project.name, self.place / "source"
        self._pip("download", "--quiet", "--no-deps", "--no-binary", name, "--dest", place, "%s==%s" % (name, self.project.version))
        (file,) = place.iterdir()
        with tarfile.open(file) as archive:
            archive.extractall(place, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        return next(path for path in place.iterdir() if path.is_dir())

    def _lay_out(self, source):
        """What tests are run in: all that is not the sources, which would be found before what is installed."""
        self.tree.mkdir()
        for path in source.iterdir():
            if path.name not in self.project.without:
                shutil.move(path, self.tree / path.name)
        for name in self.project.links:
            (self.tree / name).symlink_to(self.site)
        there = [name for name in self.project.packages if (self.tree / name).exists()]
        if there or not all((self.tree / path).exists() for path in self.project.paths):
            raise Unusable("%s %s: wants its tests and not its sources (%s): correct projects.ini" % (
                self.project.name, self.project.version, " ".join(there) or "these it has not"))
        shutil.rmtree(source.parent)

    def become(self, form):
        """Has modules imported in this form from now on; Unusable unless they are."""
        if form == self.form:
            return
        if self.form != STOCK:
            output(self._python, "-m", "pye", "uninstall", env=environment())
        self.form = STOCK
        if form != STOCK:
            output(self._python, "-m", "pye", "install", *([] if form == IMAGE else ["--no-image"]), env=environment())
        self.form = form
        served(self._python, form, self.about["roots"][0], environment())

    def run(self, part, limit):
        """Runs one part of the tests, in a process and with a copy of the tree of its own, for at most `limit` seconds; what became of it,
        with its `imports`. The ids of tests have the project in front. Unusable when no tests were run, or others than meant.
        """
        directory = pathlib.Path(tempfile.mkdtemp(prefix="pye-others-"))
        try:
            tree, temporary, told = directory / "tree", directory / "tmp", directory / "imports.json"
            shutil.copytree(self.tree, tree, symlinks=True)
            temporary.mkdir()
            packages = [word for name in self.project.packages for word in ("--imports-of", name)]
            command = [self._python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pye_imports", "--imports-to", told, *packages,
                       "--junit-xml", directory / "report.xml", "--continue-on-collection-errors", *self.project.arguments, *part]
            ran, _ = process.run(command, directory, limit, STATUSES, tree, self._variables(temporary))
            if ran.status in BROKEN:
                raise Unusable("%s: %s: %s" % (" ".join(part), ran.status, (ran.tail.strip() or "nothing said").splitlines()[-1]))
            for kept in ("tests", "details"):
                setattr(ran, kept, {self.identify(test, directory): value for test, value in getattr(ran, kept).items()})
            ran.imports = None
            if told.exists():
                ran.imports = Imports(json.loads(told.read_text()), str(self.site), self.about["roots"][0])
                ran.imports.require(self.form)
            return ran
        finally:
            process.remove(directory)

    def identify(self, test, directory):
        """A test's id, the same in all runs: with neither addresses nor the directory of its own that a run has."""
        return "%s:%s" % (self.project.name, ADDRESS.sub("0x…", test.replace(str(directory), "…")))

    def _variables(self, temporary):
        kept = environment()
        path = os.pathsep.join([str(self._python.parent), kept.get("PATH", os.defpath)])
        # Sets in the same order, so that tests that are made from them have the same names. Nothing of the user's.
        return {**kept, "PATH": path, "HOME": str(temporary), "TMPDIR": str(temporary), "PYTHONHASHSEED": "1", "PYTHONNOUSERSITE": "1"}


def _with_pip():
    """The caller's variables but for those of Python and pye: how to reach a package registry is told by many."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYE", "VIRTUAL_ENV"))}
