"""What was measured, on what and how: the lines above the tables."""
import os
import subprocess
import sys


def heading(checkout):
    """Date, processor, load, kernel, commit and command line, as names and values. Made when the measuring is done."""
    return {
        "date": _output("date", "-u", "+%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "memory": "%.1f GB; address space layout %s" % (
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
            {"0": "fixed", "1": "random, but the heap", "2": "random"}.get(_read("/proc/sys/kernel/randomize_va_space"), "unknown")),
        "load average": ", ".join(_read("/proc/loadavg").split()[:3]),
        "kernel": _output("uname", "-sr"),
        "commit": _commit(checkout),
        "command": "benches/workers/run " + " ".join(sys.argv[1:]),
    }


def _commit(checkout):
    commit = _output("git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no")
    return commit + (" and changes not committed" if changed and changed != "unknown" else "")


def _processor():
    names = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    threads = len(os.sched_getaffinity(0))
    return "%s, %d hardware thread%s" % (names[0] if names else os.uname().machine, threads, "" if threads == 1 else "s")


def _read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _output(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
