"""Starting processes and ending them."""
import contextlib
import os
import signal
import subprocess
import time


class Ended(Exception):
    """A process ended before it did what it was started for."""


@contextlib.contextmanager
def started(command, environment, log, directory=None, pass_fds=(), before_exec=None):
    """A process in a session of its own, its output going to the file `log`. At the end it is told to end (SIGTERM), and
    after ten seconds it and all of its session are killed."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=pass_fds, preexec_fn=before_exec, start_new_session=True)
    process.log = log
    try:
        yield process
    finally:
        # Not yet waited for, so that its number, also that of its session, is nobody else's.
        if not has_ended(process):
            process.terminate()
            with contextlib.suppress(TimeoutError):
                within(10, "the end of a process", lambda: has_ended(process))
        # The leader may have ended without its children.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def has_ended(process):
    """Whether it ended; it stays to be waited for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def ended(process):
    """The error that says that `process` ended, and the last that it printed."""
    with open(process.log, errors="replace") as file:
        last = "".join(file.readlines()[-15:]).strip()
    arguments = " ".join(str(argument) for argument in process.args)
    return Ended("%s\nended, or closed its socket; it printed last (%s):\n%s" % (arguments, process.log, last))


def cpu_seconds(pids):
    """Processor time that these live processes have used, all their threads, in seconds (of ticks of 10 ms)."""
    ticks = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as file:
            # The name in parentheses may hold anything.
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def parent_of(pid):
    """The parent's number."""
    with open("/proc/%d/stat" % pid) as file:
        return int(file.read().rpartition(")")[2].split()[1])


def outside(pid, namespace):
    """The number that the process `pid` of the PID namespace with the inode number `namespace` has here."""
    for name in os.listdir("/proc"):
        # Processes come and go, and those of others may not be looked into.
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat("/proc/%s/ns/pid" % name).st_ino == namespace:
                with open("/proc/%s/status" % name) as file:
                    numbers = next(line for line in file if line.startswith("NSpid:")).split()
                if int(numbers[-1]) == pid:
                    return int(name)
    raise Ended("no process %d in the PID namespace %d: it has ended" % (pid, namespace))


def within(seconds, what, done):
    """Asks `done` until it is true; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for %s" % (seconds, what))
        time.sleep(0.01)
