"""Containers as far as memory goes: each command has a root file system of its own, an overlay over the machine's and over any layers
given as the common lower directories, and is the first process of a PID namespace of its own. All else is the machine's: network,
users, clock. Started by runc where that is there and works, else without (the kernel's namespaces are the same)."""
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

RUNTIMES = ("runc", "namespaces")
CONTAINED = pathlib.Path(__file__).resolve().parent / "contained.py"


def command(scratch, number, inner, layers=(), runtime=None, rights="root"):
    """The command `inner` in container `number`, over the directories `layers` (the topmost first) over the machine's root. `scratch`
    lies in memory; what the container writes is then in `written(scratch, number)`. With rights "none" it is nobody's process, without
    capabilities and any way to get some, and can write to no file of the root file system."""
    directory = os.path.join(scratch, "container-%d" % number)
    os.mkdir(directory)
    lower = ":".join([*map(str, layers), "/"])
    return ["unshare", "--mount", sys.executable, "-I", "-B", str(CONTAINED), runtime or usual(), rights, directory, lower, *inner]


def written(scratch, number):
    """What container `number` has written: the upper directory of its overlay."""
    return pathlib.Path(scratch, "container-%d" % number, "upper")


@functools.lru_cache(None)
def usual():
    """The runtime to take: the first that works here."""
    return next((runtime for runtime in RUNTIMES if failure(runtime) is None), RUNTIMES[-1])


@functools.lru_cache(None)
def failure(runtime):
    """Why the runtime does not work here, or None."""
    needed = ["unshare", "mount", "setpriv"] + (["runc"] if runtime == "runc" else [])
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        return "not installed: %s" % ", ".join(missing)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        tried = subprocess.run(command(scratch, 0, ["true"], runtime=runtime), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True)
    return None if tried.returncode == 0 else (tried.stdout.strip().splitlines() or ["exit status %d" % tried.returncode])[-1]


def is_open(path):
    """Whether all may look into the directory of this path, so into each on the way to it."""
    return all(parent.stat().st_mode & 0o001 for parent in pathlib.Path(path).absolute().parents)


def impossible(runtime=None):
    """Why there can be none on this machine, or None."""
    if not os.path.isdir("/dev/shm"):
        return "no /dev/shm: the upper directory of an overlay over / must lie elsewhere"
    if os.geteuid() != 0:
        return "only root may mount overlays"
    return failure(runtime or usual())


def unavailable(environment, runtime=None):
    """Why there can be none of what `environment` has, or None."""
    root = os.stat("/").st_dev
    for path in (environment.python, environment.about["stdlib"], environment.work):
        if os.stat(path).st_dev != root:
            return "%s is not on the root file system" % path
    return impossible(runtime)
