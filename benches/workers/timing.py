"""How long starting and importing take, and how many system calls they make: fresh processes, contenders in turn."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time


def in_turn(contenders, runs):
    """(run, contender) in the order of measuring: all contenders once in each run, beginning with another one each time."""
    for run in range(runs):
        first = run % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            yield run, contender


def imports(environment, workload, activation):
    """One fresh process that imports: seconds from before its start to its imports done, seconds of the imports alone, and
    seconds of processor time from its start to the imports done."""
    receive, send = os.pipe()
    try:
        os.set_inheritable(send, True)
        command = imports_command(environment, workload, activation, send)
        before = time.monotonic()
        _run(command, activation.environment(environment))
        began, ended, cpu = json.loads(os.read(receive, 1000))
    finally:
        os.close(receive)
        os.close(send)
    return {"start": ended - before, "import": ended - began, "cpu": cpu}


def nothing(environment, activation):
    """One fresh `python -c pass`: seconds from before its start to its end."""
    return lasts(activation.command(environment, "-c", "pass"), activation.environment(environment))


def lasts(command, variables):
    """Seconds from before the start of a process to its end."""
    before = time.monotonic()
    _run(command, variables)
    return time.monotonic() - before


def system_calls(environment, workload, activation):
    """Those of a process that imports less those of `python -c pass`, started in the same way; None without strace."""
    if shutil.which("strace") is None:
        return None
    with open(os.devnull, "w") as sink:
        importing = imports_command(environment, workload, activation, sink.fileno())
        os.set_inheritable(sink.fileno(), True)
        whole = _count(importing, activation.environment(environment), [sink.fileno()])
    return whole - _count(activation.command(environment, "-c", "pass"), activation.environment(environment), [])


def imports_command(environment, workload, activation, fd):
    """The command that imports the workload and tells `fd` of its times."""
    return activation.command(environment, environment.workloads / "timed.py", workload.directory(environment), fd)


def _run(command, variables):
    """Starts it with as little in between as there is, and waits."""
    child = os.posix_spawnp(command[0], command, variables)
    status = os.waitpid(child, 0)[1]
    if status != 0:
        raise RuntimeError("%s: wait status %d" % (" ".join(command), status))


def _count(command, variables, pass_fds):
    """All system calls of the command and its children, by strace's count."""
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory, "report")
        subprocess.run(["strace", "-f", "-c", "-U", "calls,name", "-o", str(report), *command], check=True, env=variables,
                       pass_fds=pass_fds)
        for line in report.read_text().splitlines():
            fields = line.split()
            if len(fields) == 2 and fields[1] == "total":
                return int(fields[0])
    raise RuntimeError("strace printed no total")
