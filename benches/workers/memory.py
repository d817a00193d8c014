"""What processes hold of memory, as /proc says. All figures in bytes."""
import json
import subprocess

# smaps_rollup gives kB; USS is what would be free if the process ended: Private_Clean + Private_Dirty.
FIELDS = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private_clean", "Private_Dirty": "private_dirty", "KSM": "ksm"}


def of_process(pid):
    """The sums over all mappings of a process: rss, pss, private_clean, private_dirty, ksm and uss."""
    sums = {}
    with open("/proc/%d/smaps_rollup" % pid) as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name in FIELDS:
                sums[FIELDS[name]] = int(rest.split()[0]) * 1024
    sums["uss"] = sums["private_clean"] + sums["private_dirty"]
    return sums


def snapshot(workers, parents):
    """Of all processes while all live: `workers` and `parents` one by one, and the PSS of both together."""
    found = {"workers": [of_process(pid) for pid in workers], "parents": [of_process(pid) for pid in parents]}
    found["total_pss"] = sum(one["pss"] for one in found["workers"] + found["parents"])
    return found


# What the names of an image's sections begin with.
IMAGE = ".pye.image"


def shared_blobs(pye, workers, parents):
    """What `pye measure` (`pye` is the command as a list) says of packages in these live processes: {"method": how it was found,
    "payloads": for each worker bytes of payload present, bytes shared with another process and the share; "images": for each worker the
    bytes of images resident and those of them that are shared}. None when this pye does not measure live processes."""
    pids = [argument for pid in (*workers, *parents) for argument in ("--pid", str(pid))]
    done = subprocess.run([*pye, "measure", "--json", *pids], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode == 2:
        # Wrong usage: no such option.
        return None
    if done.returncode != 0:
        raise RuntimeError("pye measure failed: %s" % done.stderr.decode(errors="replace").strip())
    found = json.loads(done.stdout)
    processes = {process["pid"]: process for process in found["processes"]}
    return {"method": found["method"],
            "payloads": [processes[pid]["payload"] for pid in workers],
            "images": [shared_image(processes[pid]["sections"]) for pid in workers]}


def shared_image(sections):
    """Of the sections that `pye measure` lists for a process, those of images: {"resident": bytes, "shared": bytes, "sections": the
    same of each by name}.

    Shared are pages of the file that another process maps, too, and copies that a fork has passed on and nobody has written since (so
    `shared` of `pye measure`, which counts no copies, is not enough): all but those with one mapping.
    """
    parts = {}
    for one in sections:
        if one["section"].startswith(IMAGE):
            part = parts.setdefault(one["section"], {"resident": 0, "shared": 0})
            # What was swapped out had been written.
            part["resident"] += one["resident"] + one["swapped"]
            part["shared"] += one["resident"] - one["uss"]
    return {**{what: sum(part[what] for part in parts.values()) for what in ("resident", "shared")}, "sections": parts}
