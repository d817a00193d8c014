#!/usr/bin/env python3
"""Tests of the judge and of what it is given: tests/soak/tests.py. They need no virtual environment, and nothing that serves."""
import mmap
import os
import pathlib
import random
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "workers"))

import crowd
import forms
import generations
import judge
import outcome
import releases
import sampling
import server
import upgrading

PACKAGE = "/packages/site.pye"
SECONDS = 600
MAX_REQUESTS = 600
# Four workers live at once, each for so many seconds, in which it serves all its requests.
LIFE = 30
ARBITER = 1


def run(of_worker=lambda time, age: {}, seconds=SECONDS, life=LIFE, **more):
    """A made-up run: workers that hold what is usual, with some noise, but for what `of_worker` gives for a time of the run and an age of
    the worker (in parts of both, 0 to 1)."""
    random_ = random.Random(1)
    samples = [sample(ARBITER, float(time), time, {}) for time in range(0, seconds, 2)]
    for place in range(4):
        for number, born in enumerate(range(0, seconds, life)):
            usual = 40e6 * random_.uniform(0.995, 1.005)
            for at in range(0, life, 2):
                usually = {"uss": usual * (1 + 0.01 * at / life), "pss": usual + 5e6, "mappings": 300 + random_.randrange(3)}
                changed = {name: usually.get(name, USUAL.get(name)) + by if name != "generations" else by
                           for name, by in of_worker((born + at) / seconds, at / life).items()}
                samples.append(sample(1000 + 100 * number + place, born + at, MAX_REQUESTS * at / life, {**usually, **changed}))
    return {"form": "made up", "seconds": seconds, "judged": True, "max_requests": MAX_REQUESTS, "requests": 10, "releases": 10, "from_packages": 5,
            "samples": samples, "wrong": [], "crashes": [], "not_in_use": [], "broken": [], "asked": 100, "upgrades": 100, "restarts": 0,
            "workers_started": 4, "arbiters": {str(ARBITER): {PACKAGE: 3}}, **more}


USUAL = {"uss": 20e6, "pss": 20e6, "rss": 50e6, "mappings": 280, "of_packages": 12, "of_deleted": 0, "descriptors": 9, "threads": 1}


def sample(pid, time, age, more):
    return {"time": time, "pid": pid, "arbiter": ARBITER, "age": age, "generations": {PACKAGE: [3]}, **USUAL, **more}


class TheJudge(unittest.TestCase):
    def finds(self, tested, *sentences, stock=None):
        """That the judge says these, of which each must be part of one, and nothing else."""
        found = judge.of_run(tested, stock or run())
        self.assertEqual(len(found), len(sentences), found)
        for one, part in zip(found, sentences):
            self.assertIn(part, one)

    def test_a_flat_run_passes(self):
        self.finds(run())

    def test_what_grows_over_the_run_is_found(self):
        for name, by in [("uss", 2.4e6), ("pss", 2.7e6), ("mappings", 18), ("of_packages", 2), ("descriptors", 2), ("threads", 2)]:
            self.finds(run(lambda time, age: {name: by * time}), "%s of workers grow over the run" % name)

    def test_what_grows_within_the_allowance_passes(self):
        self.finds(run(lambda time, age: {"uss": 0.4e6 * time, "pss": 0.4e6 * time, "mappings": 6 * time}))

    def test_what_shrinks_passes(self):
        self.finds(run(lambda time, age: {"uss": -4e6 * time, "mappings": -20 * time}))

    def test_what_a_worker_takes_more_and_more_of_is_found(self):
        # Not seen over the run: the next worker begins anew.
        for name, by in [("uss", 2e6), ("mappings", 15), ("of_packages", 3), ("descriptors", 3), ("threads", 3)]:
            self.finds(run(lambda time, age: {name: by * age}), "%s of workers grow with age" % name)

    def test_one_descriptor_more_is_found(self):
        self.finds(run(lambda time, age: {"descriptors": 1 if time > 0.6 else 0}), "descriptors of workers grow over the run: from 9 to 10")

    def test_what_stock_has_too_is_no_finding(self):
        growing = run(lambda time, age: {"uss": 3e6 * time + 3e6 * age, "mappings": 20 * time + 20 * age, "descriptors": int(3 * age)})
        self.finds(growing, stock=growing)
        self.assertNotEqual(judge.of_run(growing, run()), [])

    def test_workers_of_other_age_are_not_compared(self):
        # In the last third none gets beyond a third of its life, where all hold less.
        young = run(lambda time, age: {"uss": 10e6 * age, "pss": 10e6 * age})
        young["samples"] = [one for one in young["samples"] if one["time"] < 400 or one["age"] < 200]
        change = judge.over_the_run(young, "uss")
        self.assertLess(abs(change.part), 0.01)

    def test_the_first_requests_of_a_worker_do_not_count(self):
        self.finds(run(lambda time, age: {"uss": -30e6 if age < 1 / 6 and time < 0.5 else 0}))

    def test_too_few_workers_are_said_not_passed(self):
        few = run(seconds=60, life=60)
        found = judge.of_run(few, run())
        self.assertTrue(any("too few workers" in one for one in found), found)
        # A short form is to be judged by all else.
        self.assertEqual(judge.of_run({**few, "judged": False}, run()), [])

    def test_no_samples_are_a_finding(self):
        self.assertIn("no sample was taken", judge.of_run(run(samples=[]), run()))

    def test_an_arbiter_that_grows_is_found(self):
        leaking = run()
        for one in leaking["samples"]:
            if one["pid"] == ARBITER:
                one["descriptors"] += one["time"] // 100
        self.finds(leaking, "descriptors of an arbiter grow from 9.5 to 13.5")

    def test_another_generation_than_the_arbiter_was_executed_with_is_found(self):
        for numbers in ([4], [2], [2, 3], [3, 4], [-1]):
            found = judge.of_run(run(lambda time, age: {"generations": {PACKAGE: numbers}} if time > 0.95 and age > 0.9 else {}), run())
            self.assertEqual(len(found), 4, found)
            self.assertIn("has generations %s of %s mapped, expected 3" % (numbers, PACKAGE), found[0])
        # Of an arbiter that nobody knows nothing is right.
        self.assertNotEqual(judge.of_run(run(arbiters={}), run()), [])

    def test_what_was_found_while_it_ran_is_told(self):
        self.finds(run(wrong=["GET /: other"]), "GET /: other")
        self.finds(run(crashes=["Worker (pid:7) was sent SIGSEGV!"]), "crash: Worker (pid:7)")
        self.finds(run(not_in_use=["no image"]), "not in use: no image")
        self.finds(run(broken=["upgrading: OSError"]), "upgrading: OSError")
        self.finds(run(upgrades=99), "99 of 100 upgrades")

    def test_the_edited_module_must_come_from_a_package_and_not_always(self):
        for number in (0, 10):
            self.finds(run(from_packages=number), "%d of 10 times" % number)
        self.finds(run(from_packages=None))


class Tables(unittest.TestCase):
    def test_a_row_for_each_form(self):
        runs = {"stock": run(), "image": run(lambda time, age: {"of_deleted": 4, "generations": {PACKAGE: [2, 3]}})}
        self.assertEqual(outcome.row(runs["image"])[-2:], ["4", "2"])
        self.assertEqual(len(outcome.row(runs["stock"])), len(outcome.HEAD))
        lines = outcome.changes(runs, judge.over_the_run).splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["form", "stock", "image"])
        self.assertIn("40.", lines[1])
        self.assertIn("–", outcome.changes({"short": run(seconds=60, life=60)}, judge.over_the_run))


class Releases(unittest.TestCase):
    def test_only_a_release_that_was_there_is_right(self):
        answer = {**releases.answer_of(7), "loader": "pye._finder"}
        self.assertIsNone(releases.difference(answer, 7, 7))
        self.assertIsNone(releases.difference(answer, 6, 8))
        self.assertIn("release 7, expected one of 8 to 9", releases.difference(answer, 8, 9))
        self.assertIn("release 7", releases.difference(answer, 5, 6))

    def test_constants_of_two_releases_are_found(self):
        for name, other in releases.answer_of(8).items():
            mixed = {**releases.answer_of(7), name: other}
            self.assertIn("constants of more than one", releases.difference(mixed, 7, 8))

    def test_the_module_says_what_is_expected_and_a_new_one_replaces_it(self):
        with tempfile.TemporaryDirectory() as directory:
            released = releases.Releases(sys.executable, directory)
            path = os.path.join(directory, releases.NAME)
            before = os.stat(path)
            released.next()
            after = os.stat(path)
            self.assertEqual((released.oldest, released.newest), (1, 1))
            # By nothing but the time, to the second.
            self.assertEqual(before.st_size, after.st_size)
            self.assertEqual(after.st_mtime - before.st_mtime, 2)
            names = {}
            with open(path) as file:
                exec(compile(file.read(), path, "exec"), names)
            said = {"module": names["__doc__"], "number": names["NUMBER"], "text": names["TEXT"], "function": names["describe"].__doc__,
                    "returned": names["describe"]()}
            self.assertEqual(said, releases.answer_of(1))


class Generations(unittest.TestCase):
    def test_mappings_are_told_apart_by_what_replaced_what(self):
        with tempfile.TemporaryDirectory() as directory:
            package = os.path.join(os.path.realpath(directory), "a.pye")
            with open(package, "wb") as file:
                file.write(bytes(100))
            files = generations.Generations([package])

            def line(name, inode):
                return "7f0000000000-7f0000001000 r--p 00000000 fe:00 %d   %s\n" % (inode, name)

            old = os.stat(package).st_ino
            # Kept, as by a process that maps it: so that its inode is nobody else's.
            with open(package, "rb"):
                upgrading.copy_over(package)
                new = os.stat(package).st_ino
            files.replaced(package)
            self.assertEqual(files.current, {package: 1})
            anonymous = "7f0000002000-7f0000003000 rw-p 00000000 00:00 0\n"
            found = files.mapped(line(package + " (deleted)", old) + line(package, new) + line("/lib/c.so", 7) + anonymous)
            self.assertEqual(found, {"mappings": 4, "of_packages": 2, "of_deleted": 1, "generations": {package: [0, 1]}})
            self.assertEqual(files.mapped(line(package, 1))["generations"], {package: [-1]})

    def test_own_mappings_are_read(self):

        with tempfile.TemporaryDirectory() as directory:
            package = os.path.join(os.path.realpath(directory), "a package.pye")
            with open(package, "wb") as file:
                file.write(bytes(8192))
            files = generations.Generations([package])
            with open(package, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
                before = sampling.of_process(os.getpid(), files)
                upgrading.copy_over(package)
                files.replaced(package)
                found = sampling.of_process(os.getpid(), files)
            self.assertEqual((before["of_packages"], before["of_deleted"], before["generations"]), (1, 0, {package: [0]}))
            self.assertEqual((found["of_packages"], found["of_deleted"], found["generations"]), (1, 1, {package: [0]}))
            self.assertEqual(sampling.of_process(os.getpid(), files)["generations"], {})


class Findings(unittest.TestCase):
    def test_what_gunicorn_logs_of_workers_that_did_not_end_by_themselves(self):
        for line in ("[1] [ERROR] Worker (pid:12) was sent SIGKILL! Perhaps out of memory?", "[1] [WARNING] Worker (pid:12) was sent SIGSEGV!",
                     "[1] [ERROR] Worker (pid:12) exited with code 1.", "[1] [CRITICAL] WORKER TIMEOUT (pid:12)",
                     "Fatal Python error: Segmentation fault"):
            self.assertIsNotNone(server.UNSOUND.search(line), line)
        self.assertIsNone(server.UNSOUND.search("[1] [INFO] Worker exiting (pid: 12)"))

    def test_a_form_that_is_not_in_use_is_told(self):
        def status(texts=5, image=None):
            return {"activations": [{"reason": None, "loaded": {"stores": [{"path": PACKAGE, "image": image}], "modules_with_mapped_text": texts}}]}

        self.assertIsNone(forms.not_in_use("stock", None))
        self.assertIsNotNone(forms.not_in_use("stock", status()))
        self.assertIsNone(forms.not_in_use("portable", status()))
        self.assertIsNotNone(forms.not_in_use("portable", status(texts=0)))
        self.assertIsNotNone(forms.not_in_use("portable", None))
        self.assertIsNotNone(forms.not_in_use("portable", {"activations": [{"reason": "off", "loaded": None}]}))
        self.assertIsNone(forms.not_in_use("image", status(image={"state": "mapped"})))
        self.assertIn("base taken", forms.not_in_use("image", status(image={"state": "base taken"})))

    def test_answers_are_held_against_the_first_ones(self):
        class Gunicorn:
            port = 0

        expected = {}
        load = crowd.Crowd(1, Gunicorn, None, expected)
        clerk = load._clerks[0]
        # What is left of an earlier turn is another thing each time, and no answer.
        clerk.read_messages = lambda: clerk.answers.append(object())
        for said, wrong in (("a", 0), ("a", 0), ("b", 1)):
            clerk.work = lambda turn, said=said: clerk.answers.append(said)
            load._one_turn(clerk, 0)
            self.assertEqual(len(load.tally.wrong), wrong)
        clerk.work = lambda turn: None
        self.assertFalse(load._guarded(lambda clerk: load._one_turn(clerk, 0), clerk))


if __name__ == "__main__":
    unittest.main()
