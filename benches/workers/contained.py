"""Runs a command in a container: contained.py RUNTIME RIGHTS DIRECTORY LOWER COMMAND..., in a mount namespace of its own.

RUNTIME    runc or namespaces, see containers.py
RIGHTS     root or none, see there
DIRECTORY  empty, not below any directory of LOWER: gets the upper directory of the overlay, and all else that is made
LOWER      the lower directories of the overlay, joined by colons, the topmost first

The command has this process's environment, directory and open files. What is mounted goes with the last process of the mount
namespace. Passes SIGTERM on; the first process of a PID namespace does not see it unless it handles it, so it is killed soon after.
"""
import ctypes
import json
import os
import signal
import subprocess
import sys

# <sched.h>: the next child is the first process of a new PID namespace.
CLONE_NEWPID = 0x20000000
# Seconds from SIGTERM to SIGKILL.
GRACE = 2
# Nobody: Debian's number, which owns nothing.
NOBODY = 65534
# What containers see of the machine besides its files.
SHARED = ("/dev/shm",)


def main():
    runtime, rights, directory, lower, *command = sys.argv[1:]
    for name in ("upper", "work", "root"):
        os.mkdir(os.path.join(directory, name))
    root = os.path.join(directory, "root")
    mount("-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (lower, directory, directory), root)
    start = {"runc": start_runc, "namespaces": start_namespaces}[runtime]
    child, first = start(directory, root, command, rights == "none")
    signal.signal(signal.SIGTERM, lambda *_: (os.kill(child, signal.SIGTERM), signal.alarm(GRACE)))
    signal.signal(signal.SIGALRM, lambda *_: os.kill(first(), signal.SIGKILL))
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode != 0:
        # The second line is about where to look further.
        raise OSError((done.stdout.splitlines() or ["mount: exit status %d" % done.returncode])[0])


def start_namespaces(directory, root, command, bare):
    """Started by itself: the child, and what gives the container's first process, both as numbers."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWPID)")
    here = os.getcwd()
    child = os.fork()
    if child == 0:
        try:
            mount("-t", "proc", "proc", root + "/proc")
            for place in ("/sys", "/dev", *SHARED):
                mount("--bind", place, root + place)
            if bare:
                mount("-o", "remount,ro", root)
                command = ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
                           "--no-new-privs", *command]
            os.chroot(root)
            os.chdir(here)
            os.execvp(command[0], command)
        except OSError as error:
            sys.stderr.write("%s: %s\n" % (command[0], error))
        finally:
            os._exit(127)
    return child, lambda: child


def start_runc(directory, root, command, bare):
    """Started by runc, with its own defaults but for what this module says of containers: as start_namespaces."""
    subprocess.run(["runc", "spec", "--bundle", directory], check=True)
    path = os.path.join(directory, "config.json")
    with open(path) as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=command, cwd=os.getcwd(), env=["%s=%s" % one for one in os.environ.items()])
    config["root"] = {"path": root, "readonly": bare}
    if bare:
        config["process"].update(user={"uid": NOBODY, "gid": NOBODY}, capabilities={})
    config["mounts"] = [one for one in config["mounts"] if one["destination"] not in ("/sys/fs/cgroup", *SHARED)] + [
        {"destination": place, "type": "bind", "source": place, "options": ["bind"]} for place in SHARED]
    config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "network"]
    with open(path, "w") as file:
        json.dump(config, file)
    number_file = os.path.join(directory, "pid")
    child = os.fork()
    if child == 0:
        try:
            # A name of its own among all that runc runs on the machine: control groups are named by it.
            os.execvp("runc", ["runc", "--root", os.path.join(directory, "state"), "run", "--bundle", directory, "--pid-file", number_file,
                               "--preserve-fds", str(fill_up()), "pye-%d" % os.getpid()])
        finally:
            os._exit(127)

    def first():
        try:
            with open(number_file) as file:
                return int(file.read())
        except (OSError, ValueError):
            # Not yet started.
            return child

    return child, first


def fill_up():
    """The number of files from 3 on that are open: runc passes on that many from 3 on, so gaps are filled."""
    passed = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and is_inherited(fd)]
    last = max(passed, default=2)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3, last + 1):
        if fd not in passed:
            os.dup2(null, fd)
    return last - 2


def is_inherited(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        # That of the listing itself.
        return False


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit("container: %s" % error)
