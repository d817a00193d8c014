"""What the commands of all judges have in common: options, ends, exit status."""
import argparse
import json
import pathlib
import shutil
import signal
import sys
import tempfile

from judging import difference
from judging.command import Unusable
from judging.interpreter import FORMS


def parser(name, description, explained, unit, limit):
    """The options that all have.

    name       of the directory of tests/ and of make's target
    explained  the list of explained differences
    unit       what runs at a time, and `limit` the longest one may take, in seconds
    """
    made = argparse.ArgumentParser(
        prog="tests/%s/run" % name, formatter_class=argparse.RawDescriptionHelpFormatter, description=description,
        epilog="Exit status: 0 no unexplained difference, 1 some, 2 not all, or nothing, could be judged.")
    made.add_argument("--python", required=True, metavar="PROGRAM", help="a CPython 3.9 to 3.15")
    made.add_argument("--forms", metavar="LIST", type=_forms, help="portable, image, or both joined by a comma (default: all possible)")
    made.add_argument("--jobs", "-j", metavar="N", type=int, default=2, help="%ss at a time (default: 2)" % unit)
    made.add_argument("--timeout", metavar="SECONDS", type=int, default=limit, help="limit of one run of tests (default: %d)" % limit)
    made.add_argument("--json", metavar="FILE", type=pathlib.Path, help="also write every figure there")
    made.add_argument("--out", metavar="DIR", type=pathlib.Path, help="where environments and packages are made, and left (default: a temporary directory)")
    made.add_argument("--site", metavar="DIR", type=pathlib.Path, help="the directory that has pye (default: what python/stage has laid out)")
    made.add_argument("--explained", metavar="FILE", type=pathlib.Path, default=explained, help=argparse.SUPPRESS)
    return made


def _forms(text):
    wanted = text.split(",")
    for form in wanted:
        if form not in FORMS[1:]:
            raise argparse.ArgumentTypeError("no form %s: portable, image" % form)
    return wanted


def run(name, chosen, judge, draw):
    """Judges, prints the report and writes --json; returns the exit status.

    judge  makes the results of `chosen`, a directory to work in, and the explained differences; `draw` the report of the results
    """
    # Ended from outside: processes are ended and directories removed as after a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = chosen.out or pathlib.Path(tempfile.mkdtemp(prefix="pye-test-%s-" % name))
    try:
        results = judge(chosen, work.resolve(), difference.read(chosen.explained))
    except (Unusable, OSError, ValueError) as reason:
        print("test-%s: %s" % (name, reason), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        if chosen.out is None:
            shutil.rmtree(work, ignore_errors=True)
    print(draw(results), end="")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    if any(each["reason"] is None for each in results["differences"]):
        return 1
    return 2 if results.get("not judged") else 0
