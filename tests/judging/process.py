"""One run of some tests in a process: what became of it and of each of its tests."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree

# Lines kept of what it prints.
LINES = 40
# Groups of processes at work, and whether no more are to be started.
_running = set()
_stopped = threading.Event()


class Run:
    """What became of a run.

    status   "passed", "failed", … or by what signal or after what time the process ended
    crashed  whether the process did not end by itself
    tests    what became of each test by its id: "passed", "skipped", "failed", "error", …
    details  of those that failed: the traceback
    seconds  how long it took
    tail     the last lines it printed
    """

    def __init__(self, status, crashed=False, tests=None, details=None, seconds=0.0, tail=""):
        self.status = status
        self.crashed = crashed
        self.tests = tests or {}
        self.details = details or {}
        self.seconds = seconds
        self.tail = tail

    def figures(self):
        """What is told of it, and the ids."""
        counts = {}
        for became in self.tests.values():
            counts[became] = counts.get(became, 0) + 1
        return {"status": self.status, "seconds": round(self.seconds, 2), "tests": counts, "ids": list(self.tests)}


def run(command, directory, limit, statuses, cwd, env):
    """Runs a command, for at most `limit` seconds, that writes `report.xml` in `directory`. What it leaves running is ended.

    statuses  what its exit codes mean
    Returns what became of it, and all lines that it printed.
    """
    began = time.monotonic()
    with open(os.path.join(directory, "output"), "w+b") as printed:
        process = subprocess.Popen([str(word) for word in command], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=printed,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        _running.add(process.pid)
        try:
            if _stopped.is_set():
                _kill(process.pid)
            status, crashed = meaning(process.wait(limit), statuses)
        except subprocess.TimeoutExpired:
            status, crashed = "ended after %d s" % limit, True
        finally:
            # What it left behind, too.
            _kill(process.pid)
            process.wait()
            _running.discard(process.pid)
        seconds = time.monotonic() - began
        printed.seek(0)
        lines = printed.read().decode("utf-8", "replace").splitlines()
    tests, details = parse(os.path.join(directory, "report.xml"))
    return Run(status, crashed, tests, details, seconds, "\n".join(lines[-LINES:])), lines


def meaning(code, statuses):
    """What an exit code says, and whether the process did not end as programs do."""
    if code < 0:
        return "signal %s" % _signal(-code), True
    return statuses.get(code, "exit %d" % code), code not in statuses


def _signal(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def stop():
    """Ends every run, at work now or begun later."""
    _stopped.set()
    for group in list(_running):
        _kill(group)


def _kill(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def remove(directory):
    """Removes a directory with whatever tests have left in it."""
    shutil.rmtree(directory, onerror=_writable)


def _writable(function, path, error):
    # A test left a directory that cannot be searched, or a process is still at work in it.
    try:
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        function(path)
    except OSError:
        pass


def parse(report):
    """What became of each test, and the tracebacks, from a file in JUnit's format; nothing when there is none or half of one."""
    try:
        root = xml.etree.ElementTree.parse(report).getroot()
    except (OSError, xml.etree.ElementTree.ParseError):
        return {}, {}
    tests, details = {}, {}
    for case in root.iter("testcase"):
        name = case.get("name")
        # Without a name: a subtest failed, and so did its test.
        if name is None:
            continue
        # Of pytest; CPython's has all in the name.
        if case.get("classname"):
            name = "%s.%s" % (case.get("classname"), name)
        # Of an object that a subtest is about: another in each process.
        name = re.sub(r"\bat 0x[0-9a-f]+", "at 0x…", name)
        became, text = _became(case)
        # Asked to run more than once, as mixed-in and parametrised tests are: the one that did not pass is told.
        if tests.get(name, "passed") == "passed":
            tests[name] = became
        if text:
            details[name] = text
    return tests, details


def _became(case):
    for kind, became in (("error", "error"), ("failure", "failed"), ("skipped", "skipped"), ("output", "failed as expected"),
                         ("outcome", "passed unexpectedly")):
        found = case.find(kind)
        if found is None:
            continue
        if found.get("type") == "pytest.xfail":
            became = "failed as expected"
        return became, (found.text or "") if kind in ("error", "failure") else ""
    return "passed", ""
