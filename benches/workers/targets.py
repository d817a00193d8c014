"""What images must reach, set against what was measured. Each limit stands here once."""
from dataclasses import dataclass
from statistics import median

import report
from rates import over_programs, paired
from report_programs import mean_growth
from table import table

IMAGE, FROZEN = "pye-image", "pye-image+freeze"


@dataclass(frozen=True)
class Row:
    """One figure and its limit: at most (or less than) it, or at least."""

    what: str
    value: float
    sense: str
    limit: float
    form: str = "%.3f"

    def met(self):
        return {"≤": self.value <= self.limit, "<": self.value < self.limit, "≥": self.value >= self.limit}[self.sense]

    def cells(self):
        return [self.what, self.form % self.value, "%s %s" % (self.sense, self.form % self.limit), "met" if self.met() else "MISSED"]


def rows_of(results):
    """Of all that was measured."""
    return [*_memory(results), *_sharing(results), *_times(results), *_python(results)]


def draw(results, markdown):
    """The table."""
    rows = rows_of(results)
    if not rows:
        return "Nothing measured that images have a target for.\n"
    missed = sum(not row.met() for row in rows)
    heading = "Targets of images: %d, %s" % (len(rows), "%d missed" % missed if missed else "all met")
    return report.title(heading, markdown) + table([["figure", "measured", "target", ""]] + [row.cells() for row in rows], markdown)


def _memory(results):
    groups = {}
    for one in results.get("memory", []):
        groups.setdefault((one["workload"], one["mode"], one["workers"]), {})[one["contender"]] = one
    for (workload, mode, workers), named in groups.items():
        where = "%s, %s, %d workers: " % (workload, mode, workers)
        uss = {name: report.per_stage(one, report.worker_uss) for name, one in named.items()}
        pss = {name: report.per_stage(one, report.total_pss) for name, one in named.items()}
        if mode in ("fork", "spawn") and {report.BASE, IMAGE} <= set(named):
            yield from _alone(results, where, mode, workers, uss, pss)
        if mode == "preload" and {"freeze", FROZEN} <= set(named):
            for stage, sense, limit in (("C", "≤", 1.0), ("D", "≤", 0.55)):
                yield Row(where + "USS %s, both with freeze" % stage, uss[FROZEN][stage] / uss["freeze"][stage], sense, limit)
            for stage, sense in (("A", "≤"), ("C", "<"), ("D", "<")):
                yield Row(where + "total PSS %s, both with freeze" % stage, pss[FROZEN][stage] / pss["freeze"][stage], sense, 1.0)
        for mine, theirs in ((IMAGE, "pycds"), (FROZEN, "pycds+freeze")):
            if {mine, theirs} <= set(named):
                for name, sums in (("USS", uss), ("total PSS", pss)):
                    worst = max(sums[mine][stage] / sums[theirs][stage] for stage in report.STAGES)
                    yield Row(where + "%s by that of %s, worst stage" % (name, theirs), worst, "<", 1.0)


def _alone(results, where, mode, workers, uss, pss):
    """Of workers that import for themselves."""
    stock, image = uss[report.BASE], uss[IMAGE]
    if mode == "fork":
        yield Row(where + "USS A", image["A"] / stock["A"], "≤", 0.56)
        limit = {4: 0.75, 8: 0.68}.get(workers)
        if limit is not None:
            yield Row(where + "total PSS A", pss[IMAGE]["A"] / pss[report.BASE]["A"], "≤", limit)
    elif results["interpreter"]["fixed"]:
        yield Row(where + "USS A", image["A"] / stock["A"], "≤", 0.60)
    saved = {stage: stock[stage] - image[stage] for stage in "ACD"}
    if saved["A"] > 0 and (mode == "fork" or results["interpreter"]["fixed"]):
        for stage in "CD":
            yield Row(where + "saved at %s by saved at A" % stage, saved[stage] / saved["A"], "≥", 0.90)


def _sharing(results):
    for one in results.get("memory", []):
        for stage, found in one["rounds"][0]["blobs"].items():
            workers = [image for image in (found or {}).get("images", []) if image["resident"]]
            if one["contender"] == IMAGE and workers and found["method"] != "smaps":
                share = sum(image["shared"] for image in workers) / sum(image["resident"] for image in workers)
                yield Row("%s, %s, %d workers: image shared, %s" % (one["workload"], one["mode"], one["workers"], stage), share, "≥", 0.90)


def _times(results):
    for workload in dict.fromkeys(one["workload"] for one in results.get("time", [])):
        named = {one["contender"]: one["runs"] for one in results["time"] if one["workload"] == workload}
        if {report.BASE, IMAGE} <= set(named):
            imports = {name: [run["import"] for run in runs] for name, runs in named.items()}
            yield Row(workload + ": imports", median(paired(imports[IMAGE], imports[report.BASE])), "≤", 0.65)
    for workers in dict.fromkeys(one["workers"] for one in results.get("requests", [])):
        named = {one["contender"]: one["runs"] for one in results["requests"] if one["workers"] == workers}
        if {report.BASE, IMAGE} <= set(named):
            speeds = {name: [run["per_second"] for run in runs] for name, runs in named.items()}
            yield Row("django, %d workers: requests per second" % workers, median(paired(speeds[IMAGE], speeds[report.BASE])), "≥", 0.99)


def _python(results):
    small = [("small programs, %s" % one["layout"], one["programs"], 1.00) for one in results.get("start") or []]
    for what, programs, limit in small + [("steady speed: time", results.get("steady"), 1.01)]:
        if programs and all({report.BASE, IMAGE} <= set(times) for times in programs.values()):
            yield Row(what + ", geometric mean", over_programs(programs, IMAGE, report.BASE)[1], "≤", limit)
    for one in results.get("cache", []):
        growth = median(mean_growth(round_) for round_ in one["rounds"]) / one["size"]
        if one["form"] == "pye.load":
            yield Row("cache, pye.load: growth of a worker", growth, "<", 0.01)
            yield Row("cache, pye.load: opening, ms", 1000 * median(round_["open"] for round_ in one["rounds"]), "<", 5, "%.2f")
        elif one["form"] == "plain objects":
            yield Row("cache, plain objects: growth of a worker", growth, "≥", 0.5)
