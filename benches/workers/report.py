"""The measured figures as tables."""
from statistics import median

from measuring import STAGES
from rates import paired
from table import mb, ratio, table

BASE = "stock"


def memory(results, markdown):
    """For each workload, launch mode and number of workers: one row for each contender."""
    parts = []
    for (workload, mode, workers), group in _grouped(results, "workload", "mode", "workers"):
        rows = [["contender", *("USS %s" % s for s in STAGES), *("total PSS %s" % s for s in STAGES), "KSM CPU s", "answers"]]
        for one in group:
            uss, pss = per_stage(one, worker_uss), per_stage(one, total_pss)
            cpu = [r["ksm_cpu"] for r in one["rounds"] if r["ksm_cpu"] is not None]
            rows.append([
                one["contender"], *(mb(uss[s]) for s in STAGES), *(mb(pss[s]) for s in STAGES),
                "%.1f" % median(cpu) if cpu else "",
                answers(round_["answers"] for round_ in one["rounds"]),
            ])
        parts.append(title("%s, %s, %d workers: MB" % (workload, mode, workers), markdown) + table(rows, markdown))
    return "\n".join(parts)


def ratios(results, markdown):
    """The same group by group as ratios to stock, and what is saved of each worker's USS at stage A and how much of that remains."""
    parts = []
    for (workload, mode, workers), group in _grouped(results, "workload", "mode", "workers"):
        base = _by_name(group).get(BASE)
        if base is None or len(group) == 1:
            continue
        stock_uss, stock_pss = per_stage(base, worker_uss), per_stage(base, total_pss)
        rows = [["contender", *("USS %s" % s for s in STAGES), *("PSS %s" % s for s in STAGES),
                 *("saved %s MB" % s for s in "ACD"), *("%s of A" % s for s in "CD")]]
        for one in group:
            uss, pss = per_stage(one, worker_uss), per_stage(one, total_pss)
            saved = {s: stock_uss[s] - uss[s] for s in STAGES}
            rows.append([
                one["contender"], *(ratio(uss[s], stock_uss[s]) for s in STAGES), *(ratio(pss[s], stock_pss[s]) for s in STAGES),
                # Preloaded, nothing is a worker's own at stage A.
                *(("" if one is base else mb(saved[s])) for s in "ACD"),
                *(("%.0f %%" % (100 * saved[s] / saved["A"]) if saved["A"] > 0 and mode != "preload" else "") for s in "CD"),
            ])
        parts.append(title("%s, %s, %d workers: × stock, and what each worker saves" % (workload, mode, workers), markdown)
                     + table(rows, markdown))
    return "\n".join(parts)


def blobs(results, markdown):
    """What `pye measure` found of the payload of packages in live workers; nothing when it was not asked."""
    rows = [["workload, mode, workers, contender", "stage", "present in each", "shared", "least of a worker", "by"]]
    for one, stage, found in _measured(results):
        payloads = found["payloads"]
        shares = [payload["share"] for payload in payloads]
        # Absent is not zero: nothing is known of pages without the walk.
        known = None not in shares
        rows.append(_sharing(one, stage, sum(payload["present"] for payload in payloads), len(payloads),
                             sum(payload["shared"] for payload in payloads) if known else None, min(shares) if known else None,
                             found["method"]))
    heading = "Payload of packages in live workers: MB, and the part shared with another worker or the parent"
    return title(heading, markdown) + table(rows, markdown) if len(rows) > 1 else ""


def images(results, markdown):
    """What `pye measure` found of images in live workers: all, then each section; nothing where no image was mapped."""
    rows = [["workload, mode, workers, contender", "stage", "resident in each", "shared", "least of a worker", "by"]]
    parts = [["workload, mode, workers, contender", "stage", "section", "resident in each", "shared"]]
    for one, stage, found in _measured(results):
        workers = [image for image in found.get("images", []) if image["resident"] > 0]
        if not workers:
            continue
        known = found["method"] != "smaps"
        resident, shared = (sum(image[what] for image in workers) for what in ("resident", "shared"))
        rows.append(_sharing(one, stage, resident, len(workers), shared if known else None,
                             min(image["shared"] / image["resident"] for image in workers) if known else None, found["method"]))
        for name in dict.fromkeys(name for image in workers for name in image["sections"]):
            sums = [sum(image["sections"].get(name, {}).get(what, 0) for image in workers) for what in ("resident", "shared")]
            share = "%.1f %%" % (100 * sums[1] / sums[0]) if known and sums[0] else "unknown"
            parts.append([rows[-1][0], stage, name, mb(sums[0] / len(workers)), share])
    if len(rows) == 1:
        return ""
    return (title("Images in live workers: MB, and the part that is shared, as pages of the file or by a fork", markdown) + table(rows, markdown)
            + "\n" + title("The same by section", markdown) + table(parts, markdown))


def _measured(results):
    """(result, stage, what `pye measure` said) of the first rounds in which it was asked."""
    for one in results:
        for stage, found in one["rounds"][0]["blobs"].items():
            if found is not None:
                yield one, stage, found


def _sharing(one, stage, present, workers, shared, least, method):
    """A row: bytes present in all workers and shared, the least share of a worker; None is unknown."""
    known = present > 0 and shared is not None
    return ["%s, %s, %d, %s" % (one["workload"], one["mode"], one["workers"], one["contender"]), stage, mb(present / workers),
            "%.1f %%" % (100 * shared / present) if known else "unknown", "%.1f %%" % (100 * least) if known else "unknown",
            method.replace("_", " ")]


def forecast(memory_results, results, markdown):
    """What `pye estimate` forecast for each worker at stage A beside what was measured, where stock and pye were."""
    rows = [["workload, mode, workers", "forecast", "measured", "forecast / measured"]]
    saves = {one["workload"]: one["each_worker_saves"] for one in results}
    for (workload, mode, workers), group in _grouped(memory_results, "workload", "mode", "workers"):
        each, named = (saves.get(workload) or {}).get(mode), _by_name(group)
        # In preload mode nothing is a worker's own at stage A.
        if each is None or mode == "preload" or not {BASE, "pye"} <= set(named):
            continue
        measured = per_stage(named[BASE], worker_uss)["A"] - per_stage(named["pye"], worker_uss)["A"]
        rows.append(["%s, %s, %d" % (workload, mode, workers), mb(each), mb(measured), ratio(each, measured)])
    for workload, each in saves.items():
        if each is None:
            rows.append([workload, "none: no portable form", "–", "–"])
        elif not any(row[0].startswith(workload + ",") for row in rows):
            rows += [["%s, %s" % (workload, mode), mb(each[mode]), "–", "–"] for mode in each if mode != "preload"]
    heading = "What pye saves of each worker's USS at stage A: MB as `pye estimate` forecast it, and as measured"
    return title(heading, markdown) + table(rows, markdown)


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
        parts.append(title("%s: start and imports, median of %d fresh processes" % (workload, len(group[0]["runs"])), markdown)
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
    return title("start and end of `python -c pass`, median of %d" % len(results[0]["runs"]), markdown) + table(rows, markdown)


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
        parts.append(title("django, gunicorn with %d workers and as many clients: median of %d rounds" % (workers, len(group[0]["runs"])), markdown)
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


def per_stage(result, of):
    """The median of the rounds at each stage, of one contender's result."""
    return {stage: median(of(round_, stage) for round_ in result["rounds"]) for stage in STAGES}


def _ratios(one, base, of):
    """Of each run with the base's run beside it."""
    return paired(map(of, one["runs"]), map(of, base["runs"])) if base else []


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


def title(text, markdown):
    """The line above a table."""
    return ("**%s**\n\n" if markdown else "%s\n") % (text[0].upper() + text[1:])
