"""Runs the test suites of other projects under the stock import and with all modules from packages, and tells what differs."""
import argparse
import concurrent.futures
import pathlib
import shutil
import threading
import time

import projects
from environment import Environment
from judging import difference, process, program
from judging.command import Unusable, staged
from judging.interpreter import FORMS, STOCK, describe, forms
from judging.progress import Progress
from judging.report import table, told

# Differences of this judge, and why they are right.
LIST = pathlib.Path(__file__).resolve().parent / "explained.ini"


def main(arguments=None):
    """The command; its exit status: 0 no difference that is not explained, 1 some, 2 not all could be judged."""
    return program.run("others", _options(arguments), judge, draw)


def _options(arguments):
    parser = program.parser(
        "others", "Runs the test suites of the projects in projects.ini, as installed from the package registry that pip is configured for,\n"
        "under the stock import and after `pye install`, and tells each test that ends otherwise. Differences that explained.ini explains\n"
        "are listed; any other fails the run.", LIST, "run", 3600)
    parser.add_argument("--only", metavar="LIST", type=lambda text: text.split(","), help="projects, joined by commas (default: all)")
    parser.add_argument("--projects", metavar="FILE", type=pathlib.Path, default=projects.LIST, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def judge(chosen, work, entries, make=Environment):
    """Everything, as main writes it to --json. `make` is for tests, and otherwise Environment."""
    began = time.monotonic()
    about = describe(chosen.python)
    version = tuple(about["version"][:2])
    wanted = [form for form in forms(about) if form in (chosen.forms or FORMS)]
    if not wanted:
        raise Unusable("%s (%s): no such form for it" % (chosen.python, about["build"]))
    listed = projects.select(projects.read(version, chosen.projects), chosen.only)
    site = (chosen.site or staged()).resolve()
    progress = Progress(len(listed) * (1 + len(wanted)))
    judged, refused, found = {}, {}, []
    turns = threading.BoundedSemaphore(chosen.jobs)
    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        waiting = {}
        for project in listed:
            environment = make(chosen.python, about, project, site, work)
            waiting[pool.submit(compare, environment, wanted, chosen, turns, progress)] = project.name
        try:
            for done in concurrent.futures.as_completed(waiting):
                try:
                    judged[waiting[done]], differences = done.result()
                except Unusable as reason:
                    refused[waiting[done]] = str(reason)
                    progress.step("%s: not judged: %s" % (waiting[done], reason))
                    continue
                found += differences
                progress.step("%s: judged: %s" % (waiting[done], _counts(judged[waiting[done]], differences)))
                difference.explain(differences, entries, version, about["debug"])
                progress.found(differences)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            process.stop()
            raise
    progress.end()
    runs = {"%s:%s" % (name, part): by_form for name, each in judged.items() for part, by_form in each["parts"].items()}
    gone = difference.conclude(runs, found, entries, version, about["debug"], wanted)
    return {
        "about": {"python": str(chosen.python), **about}, "seconds": time.monotonic() - began, "forms": wanted,
        "projects": {each.name: judged[each.name] for each in listed if each.name in judged},
        "differences": [vars(each) for each in found], "explained and gone": gone, "not judged": refused,
    }


def compare(environment, wanted, chosen, turns, progress):
    """Runs all parts of a project in each form: what became of them, and the differences. `turns` are those of runs at a time."""
    project = environment.project
    progress.step("%s %s: making its environment" % (project.name, project.version))
    environment.make()

    def ran(form, name):
        environment.become(form)
        with turns, progress.running("%s: %s (%s)" % (project.name, name, form)):
            return environment.run(project.parts[name], chosen.timeout)

    runs, result, found = {}, {name: {} for name in project.parts}, []
    # A form at a time: to change it takes longer than most runs.
    for form in [STOCK, *wanted]:
        environment.become(form)
        with concurrent.futures.ThreadPoolExecutor(len(project.parts)) as pool:
            waiting = {name: pool.submit(ran, form, name) for name in project.parts}
        for name, done in waiting.items():
            runs[form, name] = run = done.result()
            result[name][form] = {**run.figures(), "imports": run.imports.figures() if run.imports else None}
        progress.done([])
        if form == STOCK:
            _require(project, [runs[STOCK, name] for name in project.parts])
    for form in wanted:
        for name in project.parts:
            def differences(stock, pye):
                return difference.differences("%s:%s" % (project.name, name), form, stock, pye)

            first = differences(runs[STOCK, name], runs[form, name])
            confirmed, unsteady = difference.confirm(first, lambda: differences(ran(STOCK, name), ran(form, name)))
            result[name][form]["unsteady"] = unsteady
            found += confirmed
    if chosen.out is None:
        shutil.rmtree(environment.place)
    return {"version": project.version, "left out": project.left_out, "installed": environment.installed, "parts": result}, found


def _counts(project, differences):
    """One line on what became of a project, for those who end the rest."""
    counts = {}
    for by_form in project["parts"].values():
        for form, figures in by_form.items():
            counts[form] = counts.get(form, 0) + figures["tests"].get("passed", 0)
    return "%s; %d different" % (", ".join("%s %d passed" % each for each in counts.items()), len(differences))


def _require(project, runs):
    """Unusable unless what runs under the stock import is something to hold others against."""
    for run in runs:
        if run.crashed:
            raise Unusable("under the stock import: %s: %s" % (run.status, run.tail.strip().rpartition("\n")[2]))
    passed = sum(became == "passed" for run in runs for became in run.tests.values())
    if passed < project.least:
        tail = "; ".join(sorted({run.tail.strip().rpartition("\n")[2] for run in runs}))
        raise Unusable("under the stock import only %d tests pass, and should be %d at least: %s" % (passed, project.least, tail))


def draw(results):
    """The report."""
    about = results["about"]
    lines = ["%s: CPython %s%s" % (about["python"], about["build"], ", debug build" if about["debug"] else ""), ""]
    forms_ = [STOCK, *results["forms"]]
    rows = [["project", "release", "form", "tests", "passed", "skipped", "other", "seconds", "different", "explained", "unsteady"]]
    rows += [_row(results, name, form) for name in results["projects"] for form in forms_]
    lines += table(rows)
    lines += ["", "Modules that the processes of pytest imported, all runs of a project together: the project's own that have a .pyc, those of them that",
              "came from a package; all from the package of site-packages, and of these from its image; the same of the standard library; and how",
              "often a package was asked in vain:"]
    rows = [["project", "form", "own", "from package", "site-packages", "from image", "library", "from image", "in vain"]]
    rows += [_imported(results, name, form) for name in results["projects"] for form in forms_]
    lines += table(rows)
    unsteady = [(form, test) for each in results["projects"].values() for part in each["parts"].values() for form in results["forms"]
                for test in part[form]["unsteady"]]
    if unsteady:
        lines += ["", "Unsteady: differed once, and not when both were run again:"]
        lines += table([list(row) for row in unsteady])
    lines += told(results)
    if results["not judged"]:
        lines += ["", "NOT JUDGED: %d" % len(results["not judged"])]
        lines += table([[name, reason] for name, reason in results["not judged"].items()])
    return "\n".join(lines) + "\n"


def _row(results, name, form):
    project = results["projects"][name]
    ran = [part[form] for part in project["parts"].values()]
    tests = {}
    for each in ran:
        for became, number in each["tests"].items():
            tests[became] = tests.get(became, 0) + number
    cells = [sum(tests.values()), tests.get("passed", 0), tests.get("skipped", 0),
             sum(tests.values()) - tests.get("passed", 0) - tests.get("skipped", 0), "%.0f" % sum(each["seconds"] for each in ran)]
    if form != STOCK:
        found = [each for each in results["differences"] if each["form"] == form and each["module"].partition(":")[0] == name]
        cells += [len(found), sum(each["reason"] is not None for each in found), sum(len(each["unsteady"]) for each in ran)]
    return [name, project["version"], form] + [str(cell) for cell in cells] + [""] * (8 - len(cells))


def _imported(results, name, form):
    told = [part[form]["imports"] for part in results["projects"][name]["parts"].values() if part[form]["imports"]]
    cells = [sum(each["own"] for each in told), sum(each["served"] for each in told)]
    for root in ("site", "library"):
        cells += [sum(each[root]["modules"] for each in told), sum(each[root]["image"] for each in told)]
    cells.append(sum(sum(each["fallbacks"].values()) for each in told))
    return [name, form] + [str(cell) for cell in cells]
