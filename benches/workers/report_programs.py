"""The figures of small programs, of steady speed and of caches as tables."""
from statistics import median

from rates import over_programs
from report import BASE, title
from table import mb, table


def start(found, markdown):
    """Small programs beside large packages."""
    tables = []
    for one in found:
        if any(one["programs"].values()):
            sizes = ", ".join("%s %s MB" % (name, mb(size)) for name, size in one["packages"].items())
            about = "whole processes that import three modules; %s, of %s MB of .pyc (%s): median of %d rounds in turn"
            about %= one["layout"], mb(one["pyc"]), sizes or "none", _rounds(one["programs"])
            tables.append(title(about, markdown) + _programs(one["programs"], markdown))
    return "\n".join(tables)


def steady(found, markdown):
    """Programs of pyperformance and loops."""
    if not any(found.values()):
        return ""
    about = "steady speed, pyperf in fresh processes: one pass, median of %d rounds in turn"
    return title(about % _rounds(found), markdown) + _programs(found, markdown)


def cache(found, markdown):
    """Large caches read by forked workers."""
    rows = [["cache", "file MB", "opening ms", "growth of a worker MB", "of the cache", "total PSS MB", "reading s"]]
    for one in found:
        growth = median(mean_growth(round_) for round_ in one["rounds"])
        rows.append([
            one["form"], mb(one["file"]), "%.2f" % (1000 * median(round_["open"] for round_ in one["rounds"])), mb(growth),
            "%.2f %%" % (100 * growth / one["size"]), mb(median(round_["total_pss"] for round_ in one["rounds"])),
            "%.2f" % median(sum(round_["read"]) / len(round_["read"]) for round_ in one["rounds"]),
        ])
    if len(rows) == 1:
        return ""
    first = found[0]["rounds"]
    about = "a cache of %s MB of objects, read wholly by %d forked workers, median of %d rounds in turn"
    return title(about % (mb(found[0]["size"]), len(first[0]["growth"]), len(first)), markdown) + table(rows, markdown)


def mean_growth(round_):
    """Of the workers, bytes."""
    return sum(round_["growth"]) / len(round_["growth"])


def _rounds(programs):
    """How many there were."""
    return max(len(values) for times in programs.values() for values in times.values())


def _programs(programs, markdown):
    """A row for each program, and the geometric mean of the ratios to stock."""
    names = list(dict.fromkeys(name for times in programs.values() for name in times))
    ratios = {name: over_programs(programs, name, BASE) for name in names
              if name != BASE and any({name, BASE} <= set(times) for times in programs.values())}
    rows = [["program", *("%s ms" % name for name in names), *("× %s" % name for name in ratios)]]
    for program, times in programs.items():
        rows.append([program, *("%.3f" % (1000 * median(times[name])) if name in times else "failed" for name in names),
                     *("%.3f" % medians[program] if program in medians else "–" for medians, _ in ratios.values())])
    if ratios:
        rows.append(["geometric mean", *("" for _ in names), *("%.3f" % mean for _, mean in ratios.values())])
    return table(rows, markdown)
