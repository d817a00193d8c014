#!/usr/bin/env python3
"""Tests of what needs no virtual environment: benches/workers/tests.py."""
import os
import sys
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True

import attempts
import chart
import comparison
import contenders
import memory
import packages
import processes
import rates
import report
import report_programs
import sharing
import targets
import timing
import visits
from table import table


def snapshot(uss, pss):
    """What memory.snapshot gives, of one worker."""
    return {"workers": [{"uss": uss, "pss": pss}], "parents": [], "total_pss": pss}


def result(name, uss, pss):
    """What the benchmark keeps of one contender."""
    stages = {stage: snapshot(uss, pss) for stage in "ABCD"}
    rounds = [{"stages": stages, "ksm_cpu": None, "blobs": {}, "answers": {"number": 3, "different": 0, "first": []}}]
    return {"workload": "django", "mode": "fork", "workers": 4, "contender": name, "rounds": rounds}


def cells(text):
    """Of all tables in Markdown, row by row."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def layer(same=95, copied=0, uss=55, different=0, relocation="none", changed=0, fallbacks=()):
    """What benches/containers keeps of a layer: workers with 100 pages of an image, and 100 MB of USS with PYE=0."""
    store = {"path": "a.pye", "image": {"state": "mapped", "relocation": relocation}, "fallbacks": dict(fallbacks), "directories_changed": changed}
    section = {"resident": 100, "same frames in all": same, "copied by a write": copied}
    memory_of = lambda uss: {stage: snapshot(uss, uss) for stage in "AC"}
    return {"status": {"activations": [{"reason": None, "loaded": {"stores": [store]}}]}, "stock": {"memory": memory_of(100)},
            "pye": {"memory": memory_of(uss), "sections": {stage: {".pye.image.code": section} for stage in "AC"}},
            "answers": {"number": 3, "different": different, "first": []}}


class Tests(unittest.TestCase):
    def test_containers_that_share_too_little_are_told_of(self):
        self.assertEqual(sharing.missed(layer(), times_kept=True), [])
        # What was written to is a container's own.
        self.assertEqual(sharing.missed(layer(same=65, copied=30), times_kept=True), [])
        self.assertEqual(sharing.missed(layer(changed=2), times_kept=False), [])
        for wrong, says in [(layer(same=89), "89.0 %"), (layer(same=60, copied=30), "85.7 %"), (layer(same=0, copied=100), "no page"),
                            (layer(uss=61), "0.610"), (layer(different=1), "1 of 3 answers"), (layer(relocation="at-fork"), "relocated"),
                            (layer(changed=2), "2 directories"), (layer(fallbacks={"stale": 1}), "left to the stock import")]:
            found = sharing.missed(wrong, times_kept=True)
            self.assertEqual(len(found), 1)
            self.assertIn(says, found[0])
        unused = layer()
        unused["status"]["activations"][0]["loaded"]["stores"][0]["image"]["state"] = "another build"
        self.assertIn("another build", sharing.missed(unused, times_kept=True)[0])

    def test_pages_must_be_the_same_in_all_containers_not_only_in_two(self):
        pairs = {(1, 2): [{"s": {"resident": 10, "same frames in all": 9, "copied by a write": 1}}] * 2,
                 (1, 3): [{"s": {"resident": 10, "same frames in all": 4, "copied by a write": 1}}] * 2}
        measure, sharing.measure = sharing.measure, lambda pye, pids: pairs[tuple(pids)]
        try:
            self.assertEqual(sharing.sections(None, [1, 2, 3]), {"s": {"resident": 10, "same frames in all": 4, "copied by a write": 1}})
        finally:
            sharing.measure = measure

    def test_a_process_is_found_by_its_number_in_its_namespace(self):
        namespace = os.stat("/proc/self/ns/pid").st_ino
        with open("/proc/self/status") as file:
            inside = int(next(line for line in file if line.startswith("NSpid:")).split()[-1])
        self.assertEqual(processes.outside(inside, namespace), os.getpid())
        with self.assertRaises(processes.Ended):
            processes.outside(inside, 1)

    def test_both_styles_of_a_table_hold_the_same_cells(self):
        rows = [["name", "MB", "empty"], ["é", "12", ""]]
        self.assertEqual(table(rows, markdown=False), "name  MB\né     12\n")
        self.assertEqual(table(rows, markdown=True), "| name | MB |\n| --- | ---: |\n| é    | 12 |\n")

    def test_contenders_take_turns_in_being_first(self):
        order = list(timing.in_turn(["a", "b", "c"], 3))
        self.assertEqual([name for run, name in order], ["a", "b", "c", "b", "c", "a", "c", "a", "b"])
        self.assertEqual([run for run, name in order], [0, 0, 0, 1, 1, 1, 2, 2, 2])

    def test_one_that_fails_is_left_out_and_named(self):
        failed = {}

        def do(number, one):
            if (number, one.name) == (1, "pye"):
                raise ValueError("no more")
            return number

        those = [one for one in contenders.ALL if one.name in ("stock", "pye")]
        self.assertEqual(attempts.in_turn(those, 3, failed, "part", do), {"stock": [0, 1, 2]})
        self.assertEqual(failed, {"part: pye": "ValueError: no more"})

    def test_names_of_contenders_differ_and_stock_is_the_first(self):
        names = [one.name for one in contenders.ALL]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(names[0], report.BASE)

    def test_only_tokens_are_replaced_in_answers(self):
        body = b'<input type="hidden" name="csrfmiddlewaretoken" value="abc"><input name="title" value="abc">{"csrfToken": "x"}'
        for pattern, replacement in visits.TOKENS:
            body = pattern.sub(replacement, body)
        self.assertEqual(
            body, b'<input type="hidden" name="csrfmiddlewaretoken" value="TOKEN"><input name="title" value="abc">{"csrfToken": "TOKEN"}')

    def test_answers_that_differ_are_counted_and_shown(self):
        same = comparison.compare([["a", "b"], ["c"]], [["a", "b"], ["c"]])
        self.assertEqual((same["number"], same["different"]), (3, 0))
        found = comparison.compare([["a", "b"], ["c"]], [["a", "x"], ["c"]])
        self.assertEqual((found["different"], found["first"]), (1, ["worker 0: x; stock: b"]))
        with self.assertRaisesRegex(ValueError, "expected 2"):
            comparison.compare([["a", "b"]], [["a"]])

    def test_each_round_is_compared_with_the_same_round_of_stock(self):
        results = [{"contender": name, "runs": [{"answers": [[name and turn]]} for turn in "12"]} for name in ("stock", "other")]
        results[1]["runs"][1]["answers"] = [["1"]]
        comparison.settle(results, "runs", "stock")
        self.assertEqual([run["answers"]["different"] for one in results for run in one["runs"]], [0, 0, 0, 1])

    def test_own_memory_adds_up(self):
        found = memory.of_process(os.getpid())
        self.assertEqual(found["uss"], found["private_clean"] + found["private_dirty"])
        self.assertTrue(0 < found["uss"] <= found["pss"] <= found["rss"], found)

    def test_a_process_and_its_children_end_with_the_block(self):
        # The child of the shell ignores SIGTERM, and the shell waits for it.
        with processes.started(["sh", "-c", "trap '' TERM; sleep 60 & echo $!; wait"], dict(os.environ), os.devnull) as process:
            self.assertFalse(processes.has_ended(process))
            process.kill()
            processes.within(10, "the shell's end", lambda: processes.has_ended(process))
        def gone():
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return True
            return False

        # What is killed is counted until it has been waited for, which init does for orphans.
        processes.within(10, "the end of the group", gone)

    def test_ratios_are_those_of_stock(self):
        results = [result("stock", 20_000_000, 100_000_000), result("other", 15_000_000, 90_000_000)]
        self.assertEqual(cells(report.memory(results, markdown=True))[-1], ["other"] + ["15.0"] * 4 + ["90.0"] * 4 + ["3 same"])
        stock, other = cells(report.ratios(results, markdown=True))[-2:]
        self.assertEqual(stock, ["stock"] + ["1.000"] * 8 + [""] * 5)
        self.assertEqual(other, ["other"] + ["0.750"] * 4 + ["0.900"] * 4 + ["5.0"] * 3 + ["100 %"] * 2)

    def test_what_is_saved_later_is_set_against_stage_a(self):
        results = [result("stock", 20_000_000, 100_000_000), result("other", 10_000_000, 90_000_000)]
        results[1]["rounds"][0]["stages"]["D"] = snapshot(12_000_000, 90_000_000)
        self.assertEqual(cells(report.ratios(results, markdown=True))[-1][-5:], ["10.0", "10.0", "8.0", "100 %", "80 %"])
        # Nothing is a preloaded worker's own at stage A.
        for one in results:
            one["mode"] = "preload"
        self.assertEqual(cells(report.ratios(results, markdown=True))[-1][-3:], ["10.0", "10.0", "8.0"])

    def test_what_a_fork_passed_on_of_an_image_is_shared(self):
        def section(name, resident, uss, swapped=0):
            return {"section": name, "resident": resident, "uss": uss, "swapped": swapped, "copied": resident, "shared": 0}

        found = memory.shared_image([section(".pye.image.code", 100, 10), section(".pye.image.code", 20, 0, swapped=5),
                                     section(".pye.image.names", 40, 40), section(".pye.str1", 999, 999)])
        self.assertEqual((found["resident"], found["shared"]), (165, 110))
        self.assertEqual(found["sections"][".pye.image.names"], {"resident": 40, "shared": 0})
        measured = [result("pye-image", 1, 1)]
        measured[0]["rounds"][0]["blobs"] = {"C": {"method": "page_frames", "payloads": [], "images": [found, found]}}
        row = cells(report.images(measured, markdown=True))[2]
        self.assertEqual(row[0:2] + row[3:], ["django, fork, 4, pye-image", "C", "66.7 %", "66.7 %", "page frames"])
        # Without a walk over pages nothing is known; without an image there is nothing to say.
        measured[0]["rounds"][0]["blobs"]["C"]["method"] = "smaps"
        self.assertEqual(cells(report.images(measured, markdown=True))[2][3], "unknown")
        self.assertEqual(report.images([result("stock", 1, 1)], markdown=True), "")

    def test_the_reason_for_an_image_not_used_is_given(self):
        def status(*images):
            stores = [{"path": "f.pye", **image} for image in images]
            return {"activations": [{"reason": None, "loaded": {"stores": stores}}]}

        self.assertIsNone(packages.why_no_image(status({"image": {"state": "mapped"}})))
        self.assertEqual(packages.why_no_image(status({"image": {"state": "mapped"}}, {"image": {"state": "base taken"}})), "base taken")
        self.assertEqual(packages.why_no_image(status({"image": None})), "f.pye: no image")
        self.assertEqual(packages.why_no_image(status({})), "f.pye: no image")
        self.assertEqual(packages.why_no_image({"activations": [{"reason": "off", "loaded": None}]}), "off")

    def test_programs_count_by_the_geometric_mean_of_their_medians(self):
        programs = {"a": {"stock": [1.0, 2.0, 4.0], "other": [2.0, 4.0, 4.0]}, "b": {"stock": [1.0] * 3, "other": [0.5] * 3}}
        medians, mean = rates.over_programs(programs, "other", "stock")
        self.assertEqual(medians, {"a": 2.0, "b": 0.5})
        self.assertAlmostEqual(mean, 1.0)
        rows = cells(report_programs.steady(programs, markdown=True))
        self.assertEqual(rows[2], ["a", "2000.000", "4000.000", "2.000"])
        self.assertEqual(rows[-1], ["geometric mean", "", "", "1.000"])
        self.assertEqual(report_programs.steady({}, markdown=True), "")
        # What failed is said, and is no part of the mean.
        del programs["b"]["other"]
        rows = cells(report_programs.steady(programs, markdown=True))
        self.assertEqual(rows[-2:], [["b", "1000.000", "failed", "–"], ["geometric mean", "", "", "2.000"]])
        # Of one contender there are no ratios.
        self.assertEqual(cells(report_programs.steady({"a": {"other": [1.0]}}, markdown=True))[-1], ["a", "1000.000"])

    def test_a_cache_grows_by_part_of_its_size(self):
        round_ = {"open": 0.0025, "growth": [1_000_000, 3_000_000], "total_pss": 50_000_000, "read": [1.0, 2.0]}
        found = [{"form": "pye.load", "file": 90_000_000, "size": 100_000_000, "rounds": [round_]}]
        self.assertEqual(cells(report_programs.cache(found, markdown=True))[-1], ["pye.load", "90.0", "2.50", "2.0", "2.00 %", "50.0", "1.50"])

    def test_targets_are_met_or_missed(self):
        memory_results = [result("stock", 20_000_000, 100_000_000), result("pye-image", 11_000_000, 76_000_000)]
        memory_results[1]["rounds"][0]["stages"]["D"] = snapshot(15_000_000, 90_000_000)
        results = {"memory": memory_results, "interpreter": {"fixed": False}}
        found = {row.what.partition(": ")[2]: row.met() for row in targets.rows_of(results)}
        self.assertEqual(found, {"USS A": True, "total PSS A": False, "saved at C by saved at A": True, "saved at D by saved at A": False})
        self.assertIn("4, 2 missed", targets.draw(results, markdown=False))
        # The limit for separate processes is for interpreters at fixed addresses.
        for one in memory_results:
            one["mode"] = "spawn"
        self.assertEqual(targets.rows_of(results), [])
        results["interpreter"]["fixed"] = True
        self.assertEqual([row.met() for row in targets.rows_of(results)], [True, True, False])

    def test_targets_of_time_speed_and_caches(self):
        def runs(what, *values):
            return [{what: value} for value in values]

        round_ = {"open": 0.006, "growth": [500_000], "total_pss": 1, "read": [1.0]}
        results = {
            "time": [{"workload": "django", "contender": "stock", "runs": runs("import", 1.0, 2.0)},
                     {"workload": "django", "contender": "pye-image", "runs": runs("import", 0.5, 1.0)}],
            "requests": [{"workers": 4, "contender": "stock", "runs": runs("per_second", 100)},
                         {"workers": 4, "contender": "pye-image", "runs": runs("per_second", 98)}],
            "start": [{"layout": "one", "programs": {"a": {"stock": [1.0], "pye-image": [1.0]}}}],
            "steady": {"a": {"stock": [1.0], "pye-image": [1.02]}},
            "cache": [{"form": "pye.load", "file": 1, "size": 100_000_000, "rounds": [round_]}],
        }
        self.assertEqual([row.met() for row in targets.rows_of(results)], [True, False, True, False, True, False])

    def test_the_forecast_stands_beside_what_was_measured(self):
        memory_results = [result("stock", 20_000_000, 100_000_000), result("pye", 16_000_000, 90_000_000)]
        saves = {"fork": 3_000_000, "preload": 0, "spawn": 3_000_000}
        text = report.forecast(memory_results, [{"workload": "django", "each_worker_saves": saves}], markdown=True)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| django")]
        self.assertEqual(rows, [["django, fork, 4", "3.0", "4.0", "0.750"]])
        # Nothing measured: the forecast alone. No forecast: that is said.
        text = report.forecast([], [{"workload": "django", "each_worker_saves": saves}], markdown=True)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| django")]
        self.assertEqual(rows, [["django, %s" % mode, "3.0", "–", "–"] for mode in ("fork", "spawn")])
        self.assertIn("no portable form", report.forecast([], [{"workload": "django", "each_worker_saves": None}], markdown=True))

    def test_the_chart_is_xml_and_names_each_contender(self):
        results = {"memory": [result("stock", 2e7, 1e8), result("a<b", 1e7, 9e7)], "about": {"interpreter": "CPython 3.12, GCC"}}
        root = xml.etree.ElementTree.fromstring(chart.draw(results))
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        for text in ("stock", "a<b", "20.0 / 20.0", "90.0 / 90.0"):
            self.assertIn(text, texts)


if __name__ == "__main__":
    unittest.main()
