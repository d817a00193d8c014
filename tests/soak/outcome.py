"""The tables, and what was found."""
import judge
from table import mb, table


def show(results):
    """All of it, printed."""
    for name, value in results["about"].items():
        print("%s: %s" % (name, value))
    runs = results["runs"]
    print("\n" + table([HEAD, *(row(run) for run in runs.values())], markdown=False), end="")
    print("\nOf workers that had served as many requests, first and last third of each form; MB, the median worker")
    print(changes(runs, judge.over_the_run), end="")
    print("\nFrom the second sixth of a worker's life to its last third")
    print(changes(runs, judge.with_age), end="")
    for form, run in runs.items():
        if not run["judged"]:
            print("%s: NOT JUDGED by growth: too short" % form)
    for form, found in results["found"].items():
        for one in found[:SHOWN]:
            print("FAILED %s: %s" % (form, one))
        if len(found) > SHOWN:
            print("FAILED %s: and %d more" % (form, len(found) - SHOWN))
    if not any(results["found"].values()):
        print("\nAll passed: %s" % ", ".join(runs))


# Findings of a form that are printed.
SHOWN = 10
HEAD = ["form", "minutes", "requests", "wrong answers", "workers started", "crashes", "upgrades", "restarts",
        "releases told", "from a package", "samples", "mappings of deleted files", "generations at once"]


def row(run):
    """What happened in a form. Of deleted package files the most mappings that a process had; of generations the most of one file."""
    samples = run["samples"]
    return [run["form"], "%.1f" % (run["seconds"] / 60), str(run["requests"]), str(len(run["wrong"])), str(run["workers_started"]),
            str(len(run["crashes"])), str(run["upgrades"]), str(run["restarts"]), str(run["releases"]), "–" if run["from_packages"] is None else str(run["from_packages"]),
            str(len(samples)), str(max((sample["of_deleted"] for sample in samples), default=0)),
            str(max((len(numbers) for sample in samples for numbers in sample["generations"].values()), default=0))]


def changes(runs, find):
    """The table of what `find` says of each quantity."""
    head = ["form"]
    rows = [[form] for form in runs]
    for quantity in judge.QUANTITIES:
        in_memory = quantity.name in ("uss", "pss")
        name = quantity.name.upper() if in_memory else quantity.name.replace("of_packages", "of packages")
        head += ["%s first" % name, "last"] + (["change"] if in_memory else [])
        for cells, run in zip(rows, runs.values()):
            found = find(run, quantity.name)
            if found is None:
                cells += ["–"] * (3 if in_memory else 2)
            elif in_memory:
                cells += [mb(found.first), mb(found.last), "%+.2f %%" % (100 * found.part)]
            else:
                cells += ["%.1f" % found.first, "%.1f" % found.last]
    return table([head, *rows], markdown=False)
