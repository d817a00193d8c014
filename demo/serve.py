"""Django under gunicorn, with stock CPython and with pye in turn: the same requests, the same answers, and what pye saves.

Run by demo/run. The service, its clients and its figures are those of the worker benchmark (benches/workers), which takes an hour and
measures carefully; this takes a minute. Needs an interpreter, not the measured one: that has gunicorn's processes to itself.
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "benches" / "workers"))

import comparison
import environment
import memory
import processes
import serving
import sessions
import visits
from activation import Activation
from table import mb, table

WORKERS = 4
# Every worker meets every kind of request before requests are timed.
WARMING, TIMED = 1, 3
# In turn, so that what else the machine does meanwhile troubles both.
ROUNDS = 1 if os.environ.get("DEMO_QUICK") else 2
# pye is installed in the virtual environment: nothing needs to be set.
CONTENDERS = {"stock": Activation(variables={"PYE": "0"}), "pye": Activation()}

# As the field "method" of the report has it.
METHODS = {"page_frames": "by page frame numbers, exact", "pagemap_bits": "by the bits of /proc/PID/pagemap: pages that any process has, too",
           "smaps": "by the sums of /proc/PID/smaps"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--venv", required=True, help="virtual environment with Django, its companions, and pye installed")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="directory for what is made")
    parser.add_argument("--html", required=True, type=pathlib.Path, help="where the report goes")
    parser.add_argument("--step", type=int, default=0, help="number of the last heading")
    options = parser.parse_args()
    # Ended from outside: the servers are ended as after a failure.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        demonstrate(options)
    except (environment.CannotMeasure, processes.Ended, visits.UnexpectedAnswer, subprocess.CalledProcessError) as error:
        sys.exit("demo: %s" % error)


def demonstrate(options):
    """All steps."""
    workload = sessions.WORKLOADS["django"]
    rounds = {name: [] for name in CONTENDERS}
    report = None
    with tempfile.TemporaryDirectory(prefix="pye-demo-") as scratch:
        measured = environment.Environment(environment.given(options.venv), options.work.absolute(), scratch)
        workload.prepare(measured)
        # As the first start would; those of the packages are there.
        environment.output(measured.python, "-m", "compileall", "-q", workload.directory(measured))
        for number in range(ROUNDS):
            for name, activation in CONTENDERS.items():
                heading(options, "Serve with %s%s" % (name, ", round %d of %d" % (number + 1, ROUNDS) if ROUNDS > 1 else ""))
                with served(measured, workload, name, activation) as (one, tree):
                    rounds[name].append(one)
                    if name == "pye" and number == ROUNDS - 1:
                        heading(options, "Show what the processes share")
                        report = shared(options, tree)
    heading(options, "Compare")
    compare(rounds, report)


@contextlib.contextmanager
def served(measured, workload, name, activation):
    """One server with its clients at work; then, while it lives, what was measured and the number of its first process."""
    with workload.server(measured, activation, "fork", WORKERS, False, None) as (port, ready, (server,)):
        show(*("PYE=0" for _ in activation.variables), *server.args)
        workers = [one["pid"] for one in ready]
        clerks = [visits.Clerk(number, port) for number in range(WORKERS)]
        for clerk in clerks:
            clerk.log_in()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            warm = serving.Server(port, [*workers, server.pid], clerks, pool)
            passes = [warm.pass_(turn) for turn in range(WARMING + TIMED)]
        found = memory.snapshot(workers, [server.pid])
        one = {
            "uss": [worker["uss"] for worker in found["workers"]],
            "pss": found["total_pss"],
            "per_second": statistics.median(each["per_second"] for each in passes[WARMING:]),
            "answers": [sum((each["answers"][clerk] for each in passes), []) for clerk in range(WORKERS)],
        }
        print("%d requests of %d clients; %.0f requests/s" % (sum(each["requests"] for each in passes), WORKERS, one["per_second"]))
        print("USS of the workers: %s MB; PSS of them and their parent: %s MB" % (" ".join(map(mb, one["uss"])), mb(one["pss"])))
        yield one, server.pid


def shared(options, tree):
    """What `pye measure` says of the server's processes; it writes the page for a browser as well."""
    command = [str(pathlib.Path(options.venv) / "bin" / "pye"), "measure", "--json", "--tree", str(tree), "--html", str(options.html)]
    show(*command)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("demo: pye measure failed: %s" % done.stderr.decode(errors="replace").strip())
    report = json.loads(done.stdout)
    for unknown in report["unknown"]:
        print("%s: %s" % (unknown["what"].replace("_", " "), unknown["why"]))
    return report


def compare(rounds, report):
    """The table, and whether answers differ."""
    stock, pye = ({
        "each": [statistics.mean(one["uss"][worker] for one in rounds[name]) for worker in range(WORKERS)],
        "pss": statistics.mean(one["pss"] for one in rounds[name]),
        "per_second": statistics.mean(one["per_second"] for one in rounds[name]),
    } for name in CONTENDERS)
    rows = [["", "stock", "pye", "saved", ""]]

    def row(what, a, b):
        rows.append([what, mb(a), mb(b), mb(a - b), "%.1f %%" % (100 * (a - b) / a)])

    for worker in range(WORKERS):
        row("USS of worker %d, MB" % (worker + 1), stock["each"][worker], pye["each"][worker])
    row("USS of a worker, mean, MB", statistics.mean(stock["each"]), statistics.mean(pye["each"]))
    row("PSS of workers and parent, MB", stock["pss"], pye["pss"])
    rows.append(["requests per second", "%.0f" % stock["per_second"], "%.0f" % pye["per_second"], "", ""])
    print(table(rows, markdown=False), end="")
    print(payload(report))
    # Of the same round: the clients ask for the same in the same order.
    compared = [comparison.compare(stock["answers"], pye["answers"]) for stock, pye in zip(*rounds.values())]
    different = [line for one in compared for line in one["first"]]
    number = sum(one["number"] for one in compared)
    if different:
        sys.exit("demo: %d of %d answers differ, first of all\n%s" % (sum(one["different"] for one in compared), number, "\n".join(different)))
    print("%d answers of pye's workers, all the same as stock's byte for byte (but for the random tokens against forged requests)" % number)


def payload(report):
    """How much of the payload that the workers have in their page tables is shared. The parent imports other modules."""
    pids = {process["pid"] for process in report["processes"]}
    workers = [process["payload"] for process in report["processes"] if process["parent"] in pids]
    if any(one["shared"] is None for one in workers):
        return "payload of pye: %s MB in the page tables of %d workers; how much is shared cannot be told here: see above" % (
            mb(sum(one["present"] for one in workers)), len(workers))
    present, shared = (sum(one[what] for one in workers) for what in ("present", "shared"))
    return "payload of pye: %s MB in the page tables of %d workers, %.1f %% of it shared pages (%s)" % (
        mb(present), len(workers), 100 * shared / present if present else 0, METHODS[report["method"]])


def heading(options, text):
    """Of a step."""
    options.step += 1
    print("\n== %d. %s" % (options.step, text), flush=True)


def show(*command):
    """A command as one would type it, in the checkout."""
    print("$ " + " ".join(str(word).replace(str(CHECKOUT) + "/", "") for word in command), flush=True)


if __name__ == "__main__":
    main()
