#!/usr/bin/env python3
"""Tests of the judge itself: tests/cpython/tests.py [PYTHON]. That it finds a difference is tried with a module that does differ, in the package only."""
import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

import interpreter
import judge
import module
from judging import difference, process
from judging.command import Unusable, staged

# With the package test: the first that has it, unless named on the command line.
PYTHON = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else sys.executable

REPORT = """<testsuites tests="5"><testsuite start="now" tests="5">
<testcase name="test.test_x.T.test_passes" status="run" result="completed" />
<testcase name="test.test_x.T.test_fails" status="run"><system-out /><failure type="E" message="m">Traceback</failure></testcase>
<testcase name="test.test_x.T.test_skips" status="run"><skipped>no such machine</skipped></testcase>
<testcase name="test.test_x.T.test_twice" status="run" /><testcase name="test.test_x.T.test_twice" status="run"><error>again</error></testcase>
<testcase name="test.test_x.T.test_each (of=&lt;object at 0x7fc0de&gt;)" /><testcase />
</testsuite></testsuites>"""


def run(status="passed", crashed=False, details=None, **tests):
    return process.Run(status, crashed, {"test.test_x.T." + name: became for name, became in tests.items()}, details)


def found(stock, pye):
    return [(each.test, each.stock, each.pye) for each in difference.differences("test_x", "image", stock, pye)]


class Comparing(unittest.TestCase):
    def test_report(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "report.xml")
            path.write_text(REPORT)
            tests, details = process.parse(path)
            path.write_text(REPORT[:200])
            self.assertEqual(process.parse(path), ({}, {}))
        self.assertEqual(tests, {"test.test_x.T.test_passes": "passed", "test.test_x.T.test_fails": "failed", "test.test_x.T.test_skips": "skipped",
                                 "test.test_x.T.test_twice": "error", "test.test_x.T.test_each (of=<object at 0x…>)": "passed"})
        self.assertEqual(details, {"test.test_x.T.test_fails": "Traceback", "test.test_x.T.test_twice": "again"})

    def test_each_test_that_differs(self):
        self.assertEqual(found(run(a="passed", b="skipped"), run(a="passed", b="skipped")), [])
        self.assertEqual(found(run(a="passed", b="passed"), run("failed", a="passed", b="failed")), [("test.test_x.T.b", "passed", "failed")])
        self.assertEqual(found(run(a="passed", b="passed"), run("failed", a="passed")), [("test.test_x.T.b", "passed", "not run")])
        # What fails under both is the same.
        self.assertEqual(found(run("failed", a="failed"), run("failed", a="failed")), [])

    def test_what_no_test_tells(self):
        self.assertEqual(found(run(a="passed"), run("signal SIGSEGV", True)), [("test_x", "passed", "signal SIGSEGV")])
        self.assertEqual(found(run(a="passed"), run("signal SIGABRT", True, a="passed")), [("test_x", "passed", "signal SIGABRT")])
        self.assertEqual(found(run(a="passed"), run("environment changed", a="passed")), [("test_x", "passed", "environment changed")])

    def test_statuses(self):
        self.assertEqual(process.meaning(-11, module.STATUSES), ("signal SIGSEGV", True))
        self.assertEqual(process.meaning(2, module.STATUSES), ("failed", False))
        self.assertEqual(process.meaning(1, module.STATUSES), ("exit 1", True))

    def test_selection(self):
        suite = ["test_tuple", "test.test_capi.test_code", "test.test_capi.test_codecs", "test_code"]
        self.assertEqual(judge.select(suite, None), suite)
        self.assertEqual(judge.select(suite, ["test_code", "test_capi.test_code"]), ["test.test_capi.test_code", "test_code"])
        self.assertEqual(judge.select(suite, ["test_capi"]), suite[1:3])
        self.assertEqual(judge.select(suite, ["test.test_capi.test_code", "test_capi", "test.test_code"]), suite[1:])
        self.assertRaises(Unusable, judge.select, suite, ["test_cod"])
        self.assertRaises(Unusable, judge.select, suite, ["test_code", "test_cod"])
        self.assertEqual(judge.select(suite, ["test_code", "test_cod"], some=True), ["test_code"])
        self.assertRaises(Unusable, judge.select, suite, ["test_cod"], some=True)


class Explaining(unittest.TestCase):
    def entries(self, text):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "list.ini")
            path.write_text(text)
            return difference.read(path)

    def test_list(self):
        entries = self.entries("[one]\ntests = test.test_x.T.*\nversions = 3.12 3.13\nbuilds = debug\nforms = image\nreason = why\n  not\n")
        differs = difference.differences("test_x", "image", run(a="passed"), run("failed", a="failed"))
        crashed = difference.differences("test_x", "image", run(a="passed"), run("signal SIGSEGV", True))
        for version, debug, reason in (((3, 12), True, "why not"), ((3, 12), False, None), ((3, 14), True, None)):
            differs[0].reason = None
            used = difference.explain(differs + crashed, entries, version, debug)
            self.assertEqual((differs[0].reason, crashed[0].reason), (reason, None))
            self.assertEqual(used, {("one", "image")} if reason else set())
        ids = ["test.test_x.T.a"]
        self.assertEqual(difference.unused(entries, set(), (3, 12), True, "image", ids), entries)
        self.assertEqual(difference.unused(entries, {("one", "image")}, (3, 12), True, "image", ids), [])
        self.assertEqual(difference.unused(entries, set(), (3, 12), True, "image", ["test.test_y.T.a"]), [])
        self.assertEqual(difference.unused(entries, set(), (3, 12), True, "portable", ids), [])

    def test_wrong_entries(self):
        for text in ("[one]\ntests = x\n", "[one]\nreason = x\n", "[one]\ntests = x\nreason = y\nversion = 3.12\n"):
            self.assertRaises(ValueError, self.entries, text)

    def test_the_list(self):
        self.assertTrue(difference.read(judge.LIST))


class Judging(unittest.TestCase):
    """A package in which one module of the standard library is another than its source says."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def link(self, root, package, image):
        """Links a tree with nothing but a wrong `colorsys`, which has the times of the true one."""
        tested = interpreter.Interpreter(PYTHON, staged(), self.work)
        tree = self.work / ("tree-" + package.parents[2].name + package.stem)
        tree.mkdir()
        if package.stem == "0":
            true = pathlib.Path(root, "colorsys.py")
            shutil.copy2(true, tree)
            compiled = tree / "__pycache__" / ("colorsys.%s.pyc" % tested.about["cache_tag"])
            wrong = self.work / "wrong.py"
            wrong.write_text(true.read_text() + "\n\ndef rgb_to_yiq(r, g, b):\n    return (b, g, r)\n")
            compile_ = "import py_compile, sys; py_compile.compile(*sys.argv[1:3], dfile=sys.argv[3], doraise=True)"
            subprocess.run([PYTHON, "-c", compile_, str(wrong), str(compiled), str(true)], check=True)
            code = compiled.read_bytes()[16:]
            stat = true.stat()
            head = subprocess.run([PYTHON, "-c", "import importlib.util as u, sys; sys.stdout.buffer.write(u.MAGIC_NUMBER)"], check=True,
                                  stdout=subprocess.PIPE).stdout
            compiled.write_bytes(head + bytes(4) + (int(stat.st_mtime) & 0xffffffff).to_bytes(4, "little") + stat.st_size.to_bytes(4, "little") + code)
        stat = os.stat(root)
        os.utime(tree, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        tested.link(str(tree), package, False)

    def judge(self, *arguments, entries=()):
        chosen = judge._options(["--python", PYTHON, "--forms", "portable", *arguments])
        with contextlib.redirect_stderr(io.StringIO()):
            return judge.judge(chosen, self.work, list(entries), self.link)

    def test_a_difference_is_found(self):
        results = self.judge("test_colorsys", "test_keyword")
        tests = {each["test"].rpartition(".")[2]: each for each in results["differences"]}
        self.assertEqual({(each["stock"], each["pye"], each["form"]) for each in tests.values()}, {("passed", "failed", "portable")})
        self.assertIn("test_yiq_values", tests)
        self.assertIn("AssertionError", tests["test_yiq_values"]["detail"])
        self.assertEqual({each["module"] for each in results["differences"]}, {"test_colorsys"})
        self.assertEqual(results["modules"]["test_keyword"]["portable"]["status"], "passed")
        drawn = judge.draw(results)
        self.assertIn("UNEXPLAINED: %d" % len(tests), drawn)
        json.dumps(results)


if __name__ == "__main__":
    unittest.main()
