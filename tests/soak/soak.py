"""The command: all forms in turn, their tables, the verdict."""
import argparse
import json
import pathlib
import signal
import sys
import time

import crowd
import environment
import forms
import generations
import judge
import machine
import outcome
import processes
import program
import releases
import sampling
import server
import sessions
import suite
import upgrading
import visits
from activation import Unavailable
from progress import note

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
# Below this many seconds a form is too short to be judged by growth.
TO_JUDGE = 120

DESCRIPTION = """\
Serves a Django application by gunicorn, first under stock CPython (for a third of the time), then from packages in the portable form, then
with images; under load all the time, its workers recycled, its package files replaced a hundred times, gunicorn itself executed anew now and
then. One upgrade edits a module of the application, whose text is in every tenth answer, and links the application anew; the next one puts a
copy of another package in its place. Every answer is compared with stock's.

Of every worker, and of gunicorn, every few seconds: memory, mappings, those of package files and of deleted ones, descriptors, threads."""

EPILOG = """\
It fails on
  - an answer that is not stock's, or none; the text of another release than the one that was there when it was asked for
  - a worker that was killed or failed, in its end too; a gunicorn that did not end well. (That this is seen is tested at the start of each
    form, on a worker that is killed for it.)
  - a form that is not in use; an edited module that never came from a package, or always
  - workers that hold more in the last third of a form than workers that had served as many requests in the first: 2 % of memory, 8 mappings,
    none of a package file, descriptors or threads; or as much more as under stock. Likewise from a worker's second sixth of its life to its last third
  - a package file of which a process has mapped another generation than the one that was there when gunicorn was executed
Growth is judged in forms that last two minutes or more; that it was not is said.

Exit status: 0 nothing found; 1 something was, and is named; 2 wrong usage."""


def main():
    chosen = parse()
    # Ended from outside: servers are ended as after a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        server.adopt()
        results = measure(chosen)
    except (environment.CannotMeasure, processes.Ended, server.Failed, visits.UnexpectedAnswer, Unavailable, TimeoutError) as error:
        sys.exit("soak: %s" % error)
    except KeyboardInterrupt:
        sys.exit(130)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    outcome.show(results)
    sys.exit(1 if any(results["found"].values()) else 0)


def parse():
    """The options; ends the program when they are wrong."""
    parser = argparse.ArgumentParser(prog="tests/soak/run", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", metavar="DIR", help="virtual environment that has the packages of the django workload; nothing of it is "
                        "changed, but .pyc files that are missing appear (default: one is made in OUT, once, with pinned versions)")
    parser.add_argument("--python", metavar="PYTHON", help="interpreter to make the virtual environment with (default: the newest 3.12 at hand, else the newest)")
    parser.add_argument("--pye", metavar="FILE", type=pathlib.Path, help="the pye program (default: what python/stage has laid out in the checkout)")
    parser.add_argument("--out", metavar="DIR", type=pathlib.Path, default=CHECKOUT / "bench-out" / "soak",
                        help="where everything is made; may be removed at any time (default: bench-out/soak)")
    parser.add_argument("--forms", metavar="LIST", type=_forms, default=list(forms.FORMS), help="of %s, joined by commas (default: all)" % ", ".join(forms.FORMS))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", metavar="N", type=_positive, default=20, help="how long each form serves (default: 20)")
    length.add_argument("--seconds", metavar="N", type=_positive, help="the same in seconds: to see that all of it works")
    parser.add_argument("--workers", metavar="N", type=int, choices=range(1, 17), default=4, help="1 to 16 (default: 4)")
    parser.add_argument("--max-requests", metavar="N", type=_positive, help="requests after which a worker is replaced, and up to a third more "
                        "(default: 600; with --seconds 100)")
    parser.add_argument("--upgrades", metavar="N", type=_positive, help="how often package files are replaced in each form (default: 100; with --seconds 10)")
    parser.add_argument("--restarts", metavar="N", type=int, help="how often gunicorn is executed anew (default: every two minutes; with --seconds 2)")
    parser.add_argument("--interval", metavar="SECONDS", type=float, help="time between samples (default: 2; with --seconds 0.5)")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="also write every single sample")
    chosen = parser.parse_args()
    short = chosen.seconds is not None
    for name, value in (("max_requests", 100 if short else 600), ("upgrades", 10 if short else 100), ("restarts", 2 if short else max(1, chosen.minutes // 2)),
                        ("interval", 0.5 if short else 2.0)):
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    chosen.seconds = chosen.seconds if short else 60 * chosen.minutes
    if not 0 <= chosen.restarts < chosen.upgrades:
        parser.error("--restarts %d: expected 0 or more, and fewer than --upgrades %d" % (chosen.restarts, chosen.upgrades))
    chosen.workloads = ["django"]
    return chosen


def measure(chosen):
    """All forms: {"about": …, "runs": {form: what judge.of_run takes, and more}, "found": {form: sentences}, "not_judged": bool}."""
    with suite.surroundings(chosen) as measured:
        workload = sessions.WORKLOADS["django"]
        if measured.lacks(workload.name):
            raise environment.CannotMeasure("%s lacks %s" % (measured.python.parent.parent, ", ".join(measured.lacks(workload.name))))
        pye = program.find(chosen.pye, CHECKOUT)
        if pye is None:
            raise environment.CannotMeasure("no pye: python/stage makes it, --pye FILE names one")
        workload.prepare(measured)
        expected, runs = {}, {}
        for form in (forms.STOCK, *chosen.forms):
            runs[form] = one_form(form, measured, workload, pye, chosen, expected)
        note("")
        about = machine.heading(CHECKOUT)
        about["command"] = "tests/soak/run " + " ".join(sys.argv[1:])
        about["interpreter"] = "CPython %s, %s" % (".".join(map(str, measured.about["version"])), measured.about["compiler"])
    stock = runs[forms.STOCK]
    # Under stock nothing can be wrong but the run itself.
    found = {form: judge.of_run(run, stock) for form, run in runs.items()}
    return {"about": about, "runs": runs, "found": found}


def one_form(form, measured, workload, pye, chosen, expected):
    """One form, prepared and under load."""
    seconds = chosen.seconds if form != forms.STOCK else max(chosen.seconds / 3, min(chosen.seconds, TO_JUDGE))
    upgrades = max(1, round(chosen.upgrades * seconds / chosen.seconds))
    restarts = min(round(chosen.restarts * seconds / chosen.seconds), upgrades - 1)
    note("%s: preparing" % form)
    released = releases.Releases(measured.python, workload.directory(measured))
    served = forms.prepare(form, measured, workload, pye)
    log = measured.work / ("gunicorn-%s.log" % form)
    with server.running(measured, workload, served.activation, chosen.workers, chosen.max_requests, HERE / "settings" / "gunicorn.conf.py", log) as gunicorn:
        files = generations.Generations(served.packages)

        def in_use():
            return forms.not_in_use(form, gunicorn.ask("/soak/status"))

        note("%s: settling" % form)
        gunicorn.see_a_kill(chosen.workers)
        load = crowd.Crowd(chosen.workers, gunicorn, released, expected)
        load.settle()
        at_first = in_use()
        upgrader = upgrading.Upgrader(served, released, files, gunicorn, chosen.workers, seconds, upgrades, restarts, in_use)
        sampler = sampling.Sampler(gunicorn, load.tally, files, chosen.interval)
        before = len(gunicorn.said("forked"))
        began = time.monotonic()
        load.begin()
        sampler.start()
        upgrader.start()
        while time.monotonic() < began + seconds and load.works() and sampler.is_alive():
            time.sleep(0.2)
            note("%s: %d of %d s, %d requests, %d upgrades, %d wrong answers" % (
                form, time.monotonic() - began, seconds, load.tally.requests, upgrader.upgrades, len(load.tally.wrong)))
        whole = time.monotonic() >= began + seconds
        upgrader.end(wait=whole)
        sampler.end()
        load.end()
        lasted = time.monotonic() - began
        gunicorn.end()
        broken = ["%s: %s" % (what, one.error) for what, one in (("sampling", sampler), ("upgrading", upgrader)) if one.error]
        if not whole:
            broken.append("ended after %d of %d s" % (lasted, seconds))
        return {"form": form, "seconds": lasted, "judged": seconds >= TO_JUDGE, "max_requests": chosen.max_requests,
                "requests": load.tally.requests, "wrong": load.tally.wrong, "releases": load.tally.releases,
                "from_packages": load.tally.from_packages if served.pairs else None, "workers_started": len(gunicorn.said("forked")) - before,
                "crashes": gunicorn.crashes(), "not_in_use": [*([at_first] if at_first else []), *upgrader.not_in_use],
                "broken": broken, "asked": upgrades, "upgrades": upgrader.upgrades, "restarts": upgrader.restarts,
                "arbiters": {str(pid): current for pid, current in upgrader.arbiters.items()}, "samples": sampler.samples}


def _forms(text):
    values = [value.strip() for value in text.split(",")]
    for value in values:
        if value not in forms.FORMS:
            raise argparse.ArgumentTypeError("%r is none of %s" % (value, ", ".join(forms.FORMS)))
    return [form for form in forms.FORMS if form in values]


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected 1 or more, got %d" % value)
    return value
