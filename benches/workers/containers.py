"""Containers as far as memory goes: each process has a root file system of its own, an overlay over the machine's as the common
lower directory. All else is the machine's."""
import os
import shutil
import subprocess
import tempfile

# $1: a directory in memory; the rest: the command. What is mounted goes with the last process of the mount namespace.
SCRIPT = """
set -e
scratch=$1
shift
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
for place in /proc /sys /dev /dev/shm; do mount --bind "$place" "$scratch/root$place"; done
exec chroot "$scratch/root" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""


def command(scratch, number, inner):
    """The command `inner` in container `number`; `scratch` lies in memory and is emptied when all have ended."""
    directory = os.path.join(scratch, "container-%d" % number)
    os.mkdir(directory)
    return ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", directory, *inner]


def unavailable(environment):
    """Why there can be none here, or None."""
    if environment.scratch is None:
        return "no /dev/shm: the upper directory of an overlay over / must lie elsewhere"
    if os.geteuid() != 0:
        return "only root may mount overlays"
    missing = [name for name in ("unshare", "mount", "chroot") if shutil.which(name) is None]
    if missing:
        return "not installed: %s" % ", ".join(missing)
    root = os.stat("/").st_dev
    for path in (environment.python, environment.about["stdlib"], environment.work):
        if os.stat(path).st_dev != root:
            return "%s is not on the root file system" % path
    with tempfile.TemporaryDirectory(dir=environment.scratch) as scratch:
        tried = subprocess.run(command(scratch, 0, ["true"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return None if tried.returncode == 0 else (tried.stdout.strip().splitlines() or ["unshare failed"])[-1]
