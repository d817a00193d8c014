"""The command line."""
import argparse
import pathlib

import contenders
import sessions

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

EPILOG = """\
Two workloads run as 4 and 8 workers in each launch mode:
  django   a lending library (admin, auth, a REST resource, SQLite) under gunicorn; each worker answers other requests
  science  a script that reads a table, fits a model and draws a chart, many at a time; each worker has other data
Launch modes:
  fork     workers import after the fork (gunicorn's default)
  preload  the parent imports, then forks
  spawn    each worker is a program of its own (django: a gunicorn with one worker)
  container
           the same, each in a root file system of its own, overlays with the machine's as lower directory, and in a PID namespace of
           its own; started by runc where it is there (needs root)
Stages, at which memory is read while all workers live:
  A        imports done, or just forked          C  after real work and gc.collect()
  B        after gc.collect()                    D  after taking and dropping a reference to every object
Measurements:
  memory   the stages above                      time     start and imports, in fresh processes
  forecast what `pye estimate` says of it        requests requests per second (django)
  start    ten small programs beside large packages: one of about 100 MB, and those of a whole installation
  steady   programs of pyperformance, and loops over the standard library, whose code comes from packages
  cache    200 MB of tuples, strings and numbers that forked workers read: pye.load against plain objects
USS is Private_Clean + Private_Dirty, mean of the workers; total PSS is that of all workers and their parents. MB are 10^6 bytes.

Contenders:
%s

A contender that cannot take part (no pye with `run`, no root for KSM, a Python too new for code-data-share) is named with the reason.
"""


def parse():
    """The options; ends the program when they are wrong."""
    names = [one.name for one in contenders.ALL]
    epilog = EPILOG % "\n".join("  %-20s  %s" % (one.name, one.what) for one in contenders.ALL)
    parser = argparse.ArgumentParser(
        prog="benches/workers/run", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=epilog,
        description="Measures what each worker of two real workloads costs in memory and time, with pye and with what else one could use.")
    where = parser.add_argument_group("what is measured")
    where.add_argument("--venv", metavar="DIR", help="virtual environment that has the packages; nothing of it is changed, "
                       "but .pyc files that are missing appear (default: one is made in OUT, once, with pinned versions)")
    where.add_argument("--python", metavar="PYTHON", help="interpreter to make the virtual environment with (default: the newest 3.12 at hand, else the newest)")
    where.add_argument("--pye", metavar="FILE", type=pathlib.Path, help="the pye program (default: what python/stage has laid out in the checkout)")
    where.add_argument("--out", metavar="DIR", type=pathlib.Path, default=CHECKOUT / "bench-out" / "workers",
                       help="where everything is made; may be removed at any time (default: bench-out/workers)")
    what = parser.add_argument_group("which part of it")
    what.add_argument("--only", metavar="PART", type=_list(list(sessions.WORKLOADS) + PARTS), default=list(sessions.WORKLOADS) + PARTS,
                      help="workloads (%s) and measurements (%s), joined by commas; of a kind that is not named, all"
                      % (", ".join(sessions.WORKLOADS), ", ".join(PARTS)))
    what.add_argument("--contenders", metavar="LIST", type=_list(names), default=names, help="names joined by commas; stock is the base of all ratios")
    what.add_argument("--modes", metavar="LIST", type=_list(contenders.MODES), default=list(contenders.MODES), help="launch modes joined by commas")
    what.add_argument("--workers", metavar="LIST", type=_numbers, default=[4, 8], help="numbers of workers joined by commas (default: 4,8)")
    what.add_argument("--runs", metavar="N", type=_positive, default=15, help="fresh processes and rounds of requests for each contender (default: 15)")
    what.add_argument("--rounds", metavar="N", type=_positive, default=1, help="rounds of the memory measurement (default: 1; the median of more)")
    what.add_argument("--smoke", action="store_true", help="one small round of few contenders, to see that all of it works; its figures mean nothing")
    how = parser.add_argument_group("output")
    how.add_argument("--markdown", action="store_true", help="tables for RESULTS.md")
    how.add_argument("--json", metavar="FILE", type=pathlib.Path, help="also write every single figure")
    how.add_argument("--chart", metavar="FILE", type=pathlib.Path, help="also draw the memory at stage C (SVG)")
    how.add_argument("--targets", action="store_true", help="also set what images must reach against what was measured")
    how.add_argument("--from", dest="source", metavar="FILE", type=pathlib.Path, help="measure nothing: print and draw what --json wrote")
    options = parser.parse_args()
    chosen = set(options.only)
    options.workloads = [name for name in sessions.WORKLOADS if name in chosen] or list(sessions.WORKLOADS)
    options.parts = [name for name in PARTS if name in chosen] or PARTS
    if options.smoke:
        options.runs, options.workers, options.modes = 1, [2], ["fork", "preload"]
        options.contenders = [name for name in options.contenders if name in ("stock", "freeze", "pye", "pye-image")]
        if chosen == set(sessions.WORKLOADS) | set(PARTS):
            # The packages of the other one take longer to install than all of the smoke may.
            options.workloads = ["django"]
    options.contenders = [one for one in contenders.ALL if one.name in options.contenders]
    return options


# What is measured of a workload, and what of an interpreter.
OF_WORKLOADS = ["memory", "forecast", "time", "requests"]
OF_PYTHON = ["start", "steady", "cache"]
PARTS = OF_WORKLOADS + OF_PYTHON


def _list(allowed):
    def parse_list(text):
        values = [value.strip() for value in text.split(",")]
        for value in values:
            if value not in allowed:
                raise argparse.ArgumentTypeError("%r is none of %s" % (value, ", ".join(allowed)))
        return values

    return parse_list


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected 1 or more, got %d" % value)
    return value


def _numbers(text):
    values = [_positive(value) for value in text.split(",")]
    if max(values) > 16:
        raise argparse.ArgumentTypeError("at most 16 workers: the database has 16 clerks")
    return values
