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


def shared_blobs(pye, workers, parents):
    """What `pye measure` (`pye` is the command as a list) says of the payload of packages in these live processes: {"method": how it
    was found, "payloads": for each worker bytes present, bytes shared with another process and the share}. None when this pye does
    not measure live processes."""
    pids = [argument for pid in (*workers, *parents) for argument in ("--pid", str(pid))]
    done = subprocess.run([*pye, "measure", "--json", *pids], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode == 2:
        # Wrong usage: no such option.
        return None
    if done.returncode != 0:
        raise RuntimeError("pye measure failed: %s" % done.stderr.decode(errors="replace").strip())
    found = json.loads(done.stdout)
    payloads = {process["pid"]: process["payload"] for process in found["processes"]}
    return {"method": found["method"], "payloads": [payloads[pid] for pid in workers]}
