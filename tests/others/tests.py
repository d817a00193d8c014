#!/usr/bin/env python3
"""Tests of the judge of others' suites: tests/others/tests.py [PYTHON]. They fetch nothing: the project is one of two files, made here.

That it finds a difference is tried with a module that does differ, in the package only.
"""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

import environment
import judge
import projects
from imports import Imports
from judging import difference, process
from judging.command import Unusable

# One that pye serves, unless named on the command line.
PYTHON = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else sys.executable

ENTRY = """[made]
version = 2.0
version on 3.9 = 1.0
extras = a b
requires = pytest<10
    tzdata; python_version<"3.10"
packages = made
without = src
tests = tests/one tests/two
    tests/three
least = %d
"""

REPORT = """<testsuites><testsuite tests="4">
<testcase classname="tests.test_x.T" name="test_passes" time="0.1" />
<testcase classname="tests.test_x" name="test_made[&lt;object at 0x7f0011223344&gt;-/run-1/tree/tests/x.py]" time="0.1" />
<testcase classname="tests.test_x" name="test_wrong" time="0.1"><skipped type="pytest.xfail" message="bug" /></testcase>
<testcase classname="" name="tests.test_y" time="0.0"><error message="collection failure">ImportError</error></testcase>
</testsuite></testsuites>"""

# In place of pytest, which would have to be fetched: runs the functions of the test files, and writes the same reports.
PYTEST = '''
import argparse, importlib, json, os, pathlib, sys
import pye_imports

parser = argparse.ArgumentParser()
parser.add_argument("-p", action="append")
parser.add_argument("--junit-xml")
parser.add_argument("--continue-on-collection-errors", action="store_true")
parser.addoption = lambda *names, metavar=None, **more: parser.add_argument(*names, metavar=metavar, **{**more, "default": more.get("default")})
pye_imports.pytest_addoption(parser)
parser.add_argument("paths", nargs="+")
chosen = parser.parse_args()
chosen.getoption = lambda name: getattr(chosen, name[2:].replace("-", "_"))
cases, failed = [], False
for path in chosen.paths:
    for file in sorted(pathlib.Path(path).glob("test_*.py")):
        sys.path.insert(0, str(file.parent))
        module = importlib.import_module(file.stem)
        for name in [name for name in vars(module) if name.startswith("test_")]:
            case = '<testcase classname="%s" name="%s">' % (file.stem, name)
            try:
                getattr(module, name)()
            except AssertionError:
                failed, case = True, case + "<failure>AssertionError</failure>"
            cases.append(case + "</testcase>")
pathlib.Path(chosen.junit_xml).write_text("<testsuites><testsuite>%s</testsuite></testsuites>" % "".join(cases))
pye_imports.pytest_unconfigure(chosen)
sys.exit(1 if failed else 0)
'''


class List(unittest.TestCase):
    def read(self, text, python=(3, 12)):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "projects.ini")
            path.write_text(text)
            return projects.read(python, path)

    def test_entry(self):
        (project,) = self.read(ENTRY % 7)
        self.assertEqual(project.requires, ["made[a,b]==2.0", "pytest<10", 'tzdata; python_version<"3.10"'])
        self.assertEqual(project.parts, {"tests/one": ["tests/one", "tests/two"], "tests/three": ["tests/three"]})
        self.assertEqual(project.least, 7)
        self.assertEqual(self.read(ENTRY % 7, (3, 9))[0].version, "1.0")

    def test_wrong_entries(self):
        for more in ("lest = 3\n", "arguments = --ignore=tests/three\n", "arguments = -x\n    -k not_this\n"):
            self.assertRaises(ValueError, self.read, ENTRY % 7 + more)
        self.assertRaises(ValueError, self.read, "[made]\nversion = 2.0\n")
        self.assertRaises(ValueError, self.read, (ENTRY % 7).replace("tests/three", "tests/one -x"))
        self.assertEqual(self.read(ENTRY % 7 + "arguments = --ignore=tests/three\nleft out = why\n  not\n")[0].left_out, "why not")

    def test_selection(self):
        listed = projects.read((3, 12))
        self.assertEqual(projects.select(listed, None), listed)
        self.assertEqual([each.name for each in projects.select(listed, ["jinja2", "attrs"])], ["attrs", "jinja2"])
        self.assertRaises(ValueError, projects.select, listed, ["jinja"])

    def test_the_lists(self):
        names = {each.name for each in projects.read((3, 9)) + projects.read((3, 15))}
        for entry in difference.read(judge.LIST):
            for pattern in entry.tests:
                self.assertIn(pattern.partition(":")[0], names)


class Reports(unittest.TestCase):
    def test_ids(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "report.xml")
            path.write_text(REPORT)
            tests, details = process.parse(path)
            made = environment.Environment(PYTHON, {}, List().read(ENTRY % 1)[0], path, path)
        self.assertEqual({made.identify(test, pathlib.Path("/run-1")): became for test, became in tests.items()}, {
            "made:tests.test_x.T.test_passes": "passed", "made:tests.test_x.test_made[<object at 0x…>-…/tree/tests/x.py]": "passed",
            "made:tests.test_x.test_wrong": "failed as expected", "made:tests.test_y": "error"})
        self.assertEqual(details, {"tests.test_y": "ImportError"})

    def test_imports(self):
        def store(root, loaded, image):
            return {"root": root, "loaded": loaded, "fallbacks": {"changed": 1}, "image": image and {"state": "mapped", "loaded": image}}

        def told(loader="pye._finder.Loader", file="/site/made.py", stores=()):
            status = {"activations": [{"loaded": {"stores": list(stores)}}]} if stores else None
            return Imports({"pye": status, "loaders": {"made": loader, "made.ext": "importlib.ExtensionFileLoader"},
                            "files": {"made": file, "made.ext": "/site/made.so"}}, "/site", "/library")

        stock = "_frozen_importlib_external.SourceFileLoader"
        portable = [store("/site", 5, None), store("/library", 6, None)]
        image = [store("/site", 5, 5), store("/library", 6, 4)]
        for form, good in (("stock", told(stock)), ("portable", told(stores=portable)), ("image", told(stores=image))):
            good.require(form)
        for form, bad in (("stock", told(stores=portable)), ("portable", told(stock)), ("portable", told(stock, stores=portable)),
                          ("portable", told(stores=image)), ("image", told(stores=portable)), ("image", told(stores=image[:1])),
                          ("image", told(stores=image, file="/tree/made.py"))):
            self.assertRaises(Unusable, bad.require, form)
        figures = told(stores=image).figures()
        self.assertEqual((figures["own"], figures["served"], figures["library"], figures["fallbacks"]), (1, 1, {"modules": 6, "image": 4}, {"changed": 2}))

    def test_too_little_under_the_stock_import(self):
        (project,) = List().read(ENTRY % 2)
        passes = process.Run("passed", tests={"a": "passed", "b": "skipped"})
        self.assertRaises(Unusable, judge._require, project, [passes])
        judge._require(project, [passes, passes])
        self.assertRaises(Unusable, judge._require, project, [passes, passes, process.Run("signal SIGSEGV", True)])


class Made(environment.Environment):
    """A project made here. Its module has, in packages, another answer than its source."""

    wrong = True

    def _pip(self, *words):
        return "[]"

    def _fetch(self):
        (self.site / "made.py").write_text("def answer():\n    return 41 + 1\n")
        (self.site / "pytest.py").write_text(PYTEST)
        source = self.place / "source" / "made-2.0"
        for part in ("one", "two", "three"):
            (source / "tests" / part).mkdir(parents=True)
            (source / "tests" / part / ("test_%s.py" % part)).write_text(
                "import made, sys\ndef test_answer():\n    assert made.answer() == 42\ndef test_other():\n    pass\n"
                "def test_place():\n    assert 'site-packages' in made.__file__\n")
        (source / "src").mkdir()
        (source / "src" / "made.py").write_text("raise ImportError('not installed')\n")
        return source

    def become(self, form):
        if self.wrong and form not in ("stock", self.form):
            # What is linked has the size and the times of the source.
            self._write("41 - 1")
            super().become(form)
            self._write("41 + 1")
        else:
            super().become(form)

    def _write(self, answer):
        path = self.site / "made.py"
        stat = path.stat()
        path.write_text("def answer():\n    return %s\n" % answer)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        subprocess.run([str(self._python), "-m", "compileall", "-q", "-f", str(path)], check=True)


class Right(Made):
    wrong = False


class Judging(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name).resolve()

    def judge(self, made, least=9, entries=()):
        listed = self.work / "projects.ini"
        listed.write_text(ENTRY % least)
        chosen = judge._options(["--python", PYTHON, "--forms", "portable", "--projects", str(listed)])
        with contextlib.redirect_stderr(io.StringIO()):
            results = judge.judge(chosen, self.work, list(entries), made)
        json.dumps(results)
        return results, judge.draw(results)

    def test_a_difference_is_found(self):
        results, drawn = self.judge(Made)
        self.assertEqual(results["not judged"], {})
        self.assertEqual({(each["test"], each["stock"], each["pye"]) for each in results["differences"]},
                         {("made:test_%s.test_answer" % part, "passed", "failed") for part in ("one", "two", "three")})
        self.assertIn("UNEXPLAINED: 3", drawn)

    def test_same_passes(self):
        results, drawn = self.judge(Right)
        self.assertEqual((results["not judged"], results["differences"]), ({}, []))
        for part in results["projects"]["made"]["parts"].values():
            self.assertEqual(part["stock"]["tests"], part["portable"]["tests"])
            self.assertEqual((part["stock"]["imports"]["served"], part["portable"]["imports"]["served"]), (0, 1))
            self.assertGreater(part["portable"]["imports"]["library"]["modules"], 0)
        self.assertNotIn("UNEXPLAINED", drawn)
        self.assertFalse((self.work / "made").exists())

    def test_what_cannot_be_judged_is_told(self):
        results, drawn = self.judge(Right, least=10)
        self.assertIn("only 9 tests pass", results["not judged"]["made"])
        self.assertIn("NOT JUDGED: 1", drawn)


if __name__ == "__main__":
    unittest.main()
