"""The kernel's merging of equal pages (KSM): switched on for the processes of a contender, and what it costs."""
import contextlib
import ctypes
import os
import pathlib
import time

SYS = pathlib.Path("/sys/kernel/mm/ksm")
# <linux/prctl.h>, since Linux 6.4; passed on by exec since 6.7.
PR_SET_MEMORY_MERGE = 67
# Fast enough to be done in seconds: the defaults (100 pages each 20 ms) take minutes for a gigabyte. What counts is the processor time.
PAGES_TO_SCAN, SLEEP_MILLISECS = 10000, 10
# Merged when this many passes over all memory found next to nothing more. A page is looked at twice before it is merged.
QUIET_PASSES = 3


def unavailable():
    """Why KSM cannot be used here, or None."""
    if not SYS.exists():
        return "this kernel has no KSM"
    if not os.access(str(SYS / "run"), os.W_OK):
        return "only root may switch KSM on (%s)" % (SYS / "run")
    if not os.path.exists("/proc/self/ksm_stat") or "ksm_merge_any" not in pathlib.Path("/proc/self/ksm_stat").read_text():
        return "this kernel is older than Linux 6.7: no merging for whole processes that lasts through exec"
    return None


def opt_in():
    """To be called between fork and exec: the process and its children are merged, whatever they run."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_MEMORY_MERGE)")


def opted_in(pid):
    """Whether all memory of this process may be merged."""
    with open("/proc/%d/ksm_stat" % pid) as file:
        return "ksm_merge_any: yes" in file.read()


@contextlib.contextmanager
def running():
    """The kernel's thread scans; afterwards its settings are as they were before."""
    wanted = {"pages_to_scan": PAGES_TO_SCAN, "sleep_millisecs": SLEEP_MILLISECS, "run": 1}
    before = {name: (SYS / name).read_text().strip() for name in wanted}
    try:
        for name, value in wanted.items():
            (SYS / name).write_text(str(value))
        yield
    finally:
        for name, value in before.items():
            (SYS / name).write_text(value)


def settle(timeout=300):
    """Waits until further passes merge next to nothing more. Returns the processor time of the kernel's thread meanwhile, in
    seconds. TimeoutError when it takes longer than `timeout` seconds."""
    began, end = cpu_seconds(), time.monotonic() + timeout
    quiet, merged, scans = 0, _read("pages_sharing"), _read("full_scans")
    while quiet < QUIET_PASSES:
        if time.monotonic() > end:
            raise TimeoutError("KSM was still merging after %d s" % timeout)
        time.sleep(0.02)
        if _read("full_scans") == scans:
            continue
        now = _read("pages_sharing")
        quiet = quiet + 1 if now - merged <= 0.001 * now else 0
        merged, scans = now, _read("full_scans")
    return cpu_seconds() - began


def cpu_seconds():
    """Processor time of the kernel's thread since boot."""
    with open("/proc/%d/stat" % _thread()) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _thread():
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if pathlib.Path("/proc", entry, "comm").read_text().strip() == "ksmd":
                    return int(entry)
    raise FileNotFoundError("no thread ksmd in /proc")


def _read(name):
    return int((SYS / name).read_text())
