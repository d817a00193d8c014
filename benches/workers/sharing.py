"""What workers in containers share of the packages they map, and whether it is enough."""
import json
import statistics
import subprocess

import memory
import packages
from table import mb, table


class CannotCompare(Exception):
    """Why page frames cannot be compared."""


# Of the pages of images that a worker has at stage A and has not written to, at least so many must be the same frames in all containers.
LEAST = 0.9
# Of the USS of a worker with PYE=0, it may have at most so much at stage A.
MOST = 0.6
# The columns.
COLUMNS = ("resident", "same frames in all", "copied by a write")


def sections(pye, workers):
    """Of each section: bytes in the mean worker. Pages are the same in all where each other worker has the first one's frames, of
    which the least is taken."""
    found = [measure(pye, [workers[0], other]) for other in workers[1:]]
    names = {name: None for pair in found for one in pair for name in one}
    nothing = dict.fromkeys(COLUMNS, 0)
    result = {}
    for name in names:
        parts = [[one.get(name, nothing) for one in pair] for pair in found]
        every = [parts[0][0]] + [second for _, second in parts]
        result[name] = {
            "resident": sum(one["resident"] for one in every) / len(every),
            "same frames in all": min(one["same frames in all"] for pair in parts for one in pair),
            "copied by a write": sum(one["copied by a write"] for one in every) / len(every)}
    return result


def measure(pye, pids):
    """What `pye measure` says of the sections of packages in two processes."""
    done = subprocess.run([*pye, "measure", "--json", *(argument for pid in pids for argument in ("--pid", str(pid)))],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise CannotCompare("pye measure: %s" % done.stderr.strip())
    found = json.loads(done.stdout)
    if found["method"] != "page_frames" or found["unknown"]:
        raise CannotCompare("pye measure could not compare page frames: %s" % (found["unknown"] or found["method"]))
    result = []
    for pid in pids:
        sums = {}
        for one in next(process for process in found["processes"] if process["pid"] == pid)["sections"]:
            part = sums.setdefault(one["section"], dict.fromkeys(COLUMNS, 0))
            # What was swapped out had been written.
            for column, value in zip(COLUMNS, (one["resident"] + one["swapped"], one["shared"], (one["copied"] or 0) + one["swapped"])):
                part[column] += value
        result.append(sums)
    return result


def total(stage, names):
    return {column: sum(stage[name][column] for name in names) for column in COLUMNS}


def images(stage):
    """The names of the images' sections."""
    return [name for name in stage if name.startswith(memory.IMAGE)]


def draw(one):
    """The tables of one layer."""
    stages = one["pye"]["sections"]
    names = [name for name in stages["C"] if any(stage.get(name, {}).get("resident") for stage in stages.values())]
    head = ["section"]
    rows = [[name] for name in names] + [["images"], ["all"]]
    for title, stage in stages.items():
        head += ["%s: resident" % title, *COLUMNS[1:], "same of all", "of unwritten"]
        for row, those in zip(rows, [[name] for name in names] + [images(stage), list(stage)]):
            sums = total(stage, [name for name in those if name in stage])
            row += [mb(sums[column]) for column in COLUMNS] + [percent(sums, sums["resident"]), percent(sums, unwritten(sums))]
    text = table([head, *rows], markdown=False)
    rows = [["worker", "USS A", "USS C", "total PSS A", "total PSS C", "USS A, of PYE=0", "USS C, of PYE=0"]]
    for name in ("stock", "pye"):
        of_memory = one[name]["memory"]
        rows.append(["PYE=0" if name == "stock" else "image", *(mb(uss(of_memory[stage])) for stage in "AC"),
                     *(mb(of_memory[stage]["total_pss"]) for stage in "AC"),
                     *("%.3f" % ratio(one, stage) if name == "pye" else "" for stage in "AC")])
    return text + "\n" + table(rows, markdown=False) + "%d answers, %d different\n" % (one["answers"]["number"], one["answers"]["different"])


def uss(snapshot):
    """Of the mean worker."""
    return statistics.mean(worker["uss"] for worker in snapshot["workers"])


def ratio(one, stage):
    """USS of a worker, of that with PYE=0."""
    return uss(one["pye"]["memory"][stage]) / uss(one["stock"]["memory"][stage])


def unwritten(sums):
    return sums["resident"] - sums["copied by a write"]


def percent(sums, whole):
    return "–" if not whole else "%.1f %%" % (100 * sums["same frames in all"] / whole)


def missed(one, times_kept):
    """What is not as it must be: sentences. `one` has "status", "stock", "pye" and "answers" of a layer, see benches/containers; with
    `times_kept` no directory may seem changed."""
    return _not_used(one["status"], times_kept) or _not_shared(one)


def _not_used(found, times_kept):
    """Why images are not used as they should."""
    reason = packages.why_no_image(found)
    if reason:
        return ["the image is not used: %s" % reason]
    wrong = []
    for store in (store for each in found["activations"] for store in each["loaded"]["stores"]):
        if store["image"]["relocation"] != "none":
            wrong.append("%s: relocated, for the interpreter is not where it was when the image was made: take one at a fixed address, or pin it"
                         % store["path"])
        if store["fallbacks"]:
            wrong.append("%s: left to the stock import: %s" % (store["path"], store["fallbacks"]))
        if times_kept and store["directories_changed"]:
            wrong.append("%s: %d directories seem to have changed" % (store["path"], store["directories_changed"]))
    return wrong


def _not_shared(one):
    """Why too little is shared."""
    wrong = []
    stage = one["pye"]["sections"]["A"]
    sums = total(stage, images(stage))
    if not unwritten(sums):
        wrong.append("no page of an image is in memory as it is in the file")
    elif sums["same frames in all"] < LEAST * unwritten(sums):
        wrong.append("%s of the images' pages that were not written to are the same frames in all containers at stage A, expected at least %.0f %%"
                     % (percent(sums, unwritten(sums)), 100 * LEAST))
    if ratio(one, "A") > MOST:
        wrong.append("the USS of a worker at stage A is %.3f of that with PYE=0, expected at most %.2f" % (ratio(one, "A"), MOST))
    if one["answers"]["different"]:
        wrong.append("%d of %d answers differ from those with PYE=0: %s" % (one["answers"]["different"], one["answers"]["number"], one["answers"]["first"]))
    return wrong
