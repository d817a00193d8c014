"""The measured figures as tables."""
from statistics import median

from measuring import STAGES
from table import mb, ratio, table

BASE = "stock"


def memory(results, markdown):
    """For each workload, launch mode and number of workers: one row for each contender."""
    parts = []
    for (workload, mode, workers), group in _grouped(results, "workload", "mode", "workers"):
        rows = [["contender", *("USS %s" % s for s in STAGES), *("total PSS %s" % s for s in STAGES), "× USS C", "× PSS C", "KSM CPU s", "answers"]]
        base = _by_name(group).get(BASE)
        for one in group:
            uss, pss = _per_stage(one, worker_uss), _per_stage(one, total_pss)
            cpu = [r["ksm_cpu"] for r in one["rounds"] if r["ksm_cpu"] is not None]
            rows.append([
                one["contender"], *(mb(uss[s]) for s in STAGES), *(mb(pss[s]) for s in STAGES),
                ratio(uss["C"], _per_stage(base, worker_uss)["C"] if base else 0),
                ratio(pss["C"], _per_stage(base, total_pss)["C"] if base else 0),
                "%.1f" % median(cpu) if cpu else "",
                answers(round_["answers"] for round_ in one["rounds"]),
            ])
        parts.append(_title("%s, %s, %d workers: MB" % (workload, mode, workers), markdown) + table(rows, markdown))
    return "\n".join(parts)


def blobs(results, markdown):
    """What `pye measure` found of the payload of packages in live workers; nothing when it was not asked."""
    rows = [["workload, mode, workers, contender", "stage", "present in each", "shared", "least of a worker", "by"]]
    for one in results:
        for stage, found in one["rounds"][0]["blobs"].items():
            if found is None:
                continue
            payloads = found["payloads"]
            present = sum(payload["present"] for payload in payloads)
            shares = [payload["share"] for payload in payloads]
            # Absent is not zero: nothing is known of pages without the walk.
            known = present > 0 and None not in shares
            rows.append([
                "%s, %s, %d, %s" % (one["workload"], one["mode"], one["workers"], one["contender"]), stage, mb(present / len(payloads)),
                "%.1f %%" % (100 * sum(payload["shared"] for payload in payloads) / present) if known else "unknown",
                "%.1f %%" % (100 * min(shares)) if known else "unknown", found["method"].replace("_", " "),
            ])
    title = "Payload of packages in live workers: MB, and the part shared with another worker or the parent"
    return _title(title, markdown) + table(rows, markdown) if len(rows) > 1 else ""


def forecast(memory_results, results, markdown):
    """What `pye estimate` forecast for each worker at stage A beside what was measured, where stock and pye were."""
    rows = [["workload, mode, workers", "forecast", "measured", "forecast / measured"]]
    saves = {one["workload"]: one["each_worker_saves"] for one in results}
    for (workload, mode, workers), group in _grouped(memory_results, "workload", "mode", "workers"):
        each, named = (saves.get(workload) or {}).get(mode), _by_name(group)
        # In preload mode nothing is a worker's own at stage A.
        if each is None or mode == "preload" or not {BASE, "pye"} <= set(named):
            continue
        measured = _per_stage(named[BASE], worker_uss)["A"] - _per_stage(named["pye"], worker_uss)["A"]
        rows.append(["%s, %s, %d" % (workload, mode, workers), mb(each), mb(measured), ratio(each, measured)])
    for workload, each in saves.items():
        if each is None:
            rows.append([workload, "none: no portable form", "–", "–"])
        elif not any(row[0].startswith(workload + ",") for row in rows):
            rows += [["%s, %s" % (workload, mode), mb(each[mode]), "–", "–"] for mode in each if mode != "preload"]
    title = "What pye saves of each worker's USS at stage A: MB as `pye estimate` forecast it, and as measured"
    return _title(title, markdown) + table(rows, markdown)


def starts(results, markdown):
    """Start to imports done, the imports alone, processor time and system calls."""
    parts = []
    for (workload,), group in _grouped(results, "workload"):
        rows = [["contender", "start to imports done s", "×", "over runs", "imports s", "×", "over runs", "CPU s", "×", "system calls", "×"]]
        base = _by_name(group).get(BASE)
        for one in group:
            cells = [one["contender"]]
            for what in ("start", "import"):
                values, ratios = [r[what] for r in one["runs"]], _ratios(one, base, lambda r: r[what])
                cells += ["%.3f" % median(values), _median_of(ratios), _range(ratios)]
            ratios = _ratios(one, base, lambda r: r["cpu"])
            cells += ["%.3f" % median(r["cpu"] for r in one["runs"]), _median_of(ratios)]
            calls = one["system_calls"]
            cells += ["no strace" if calls is None else str(calls),
                      ratio(calls, base["system_calls"]) if base and calls is not None else "–"]
            rows.append(cells)
        parts.append(_title("%s: start and imports, median of %d fresh processes" % (workload, len(group[0]["runs"])), markdown)
                     + table(rows, markdown))
    return "\n".join(parts)


def nothing(results, markdown):
    """`python -c pass`."""
    base = _by_name(results).get(BASE)
    rows = [["contender", "python -c pass ms", "more than stock ms", "over runs"]]
    for one in results:
        more = [a - b for a, b in zip(one["runs"], base["runs"])] if base else []
        rows.append([one["contender"], "%.2f" % (1000 * median(one["runs"])),
                     "%+.2f" % (1000 * median(more)) if more else "–",
                     "%+.2f to %+.2f" % (1000 * min(more), 1000 * max(more)) if more else "–"])
    return _title("start and end of `python -c pass`, median of %d" % len(results[0]["runs"]), markdown) + table(rows, markdown)


def serving(results, markdown):
    """Requests per second."""
    parts = []
    for (workers,), group in _grouped(results, "workers"):
        rows = [["contender", "mode", "requests/s", "×", "over rounds", "CPU ms/request", "×", "KSM CPU ms/request", "answers"]]
        base = _by_name(group).get(BASE)
        for one in group:
            speeds, costs = _ratios(one, base, lambda r: r["per_second"]), _ratios(one, base, lambda r: r["cpu"])
            ksm = [r["ksm_cpu"] for r in one["runs"] if "ksm_cpu" in r]
            rows.append([
                one["contender"], one["mode"], "%.1f" % median(r["per_second"] for r in one["runs"]), _median_of(speeds), _range(speeds),
                "%.2f" % (1000 * median(r["cpu"] for r in one["runs"])), _median_of(costs),
                "%.2f" % (1000 * median(ksm)) if ksm else "",
                answers(run["answers"] for run in one["runs"]),
            ])
        parts.append(_title("django, gunicorn with %d workers and as many clients: median of %d rounds" % (workers, len(group[0]["runs"])), markdown)
                     + table(rows, markdown))
    return "\n".join(parts)


def answers(compared):
    """Of all rounds, what comparing with stock's answers gave."""
    compared = [one for one in compared if one is not None]
    number, different = sum(one["number"] for one in compared), sum(one["different"] for one in compared)
    return "" if not compared else "%d of %d differ" % (different, number) if different else "%d same" % number


def worker_uss(round_, stage):
    """Mean of the workers, bytes."""
    workers = round_["stages"][stage]["workers"]
    return sum(one["uss"] for one in workers) / len(workers)


def total_pss(round_, stage):
    """Of workers and parents together, bytes."""
    return round_["stages"][stage]["total_pss"]


def _per_stage(result, of):
    return {stage: median(of(round_, stage) for round_ in result["rounds"]) for stage in STAGES}


def _ratios(one, base, of):
    """Of each run with the base's run beside it."""
    return [of(a) / of(b) for a, b in zip(one["runs"], base["runs"])] if base else []


def _median_of(ratios):
    return "%.3f" % median(ratios) if ratios else "–"


def _range(ratios):
    return "%.2f–%.2f" % (min(ratios), max(ratios)) if ratios else "–"


def _by_name(group):
    return {one["contender"]: one for one in group}


def _grouped(results, *keys):
    groups = {}
    for one in results:
        groups.setdefault(tuple(one[key] for key in keys), []).append(one)
    return groups.items()


def _title(text, markdown):
    return ("**%s**\n\n" if markdown else "%s\n") % (text[0].upper() + text[1:])
