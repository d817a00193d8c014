"""One run of one test module: what became of it and of each of its tests."""
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree

from interpreter import environment

# Of `python -m test`, test/libregrtest.
STATUSES = {0: "passed", 2: "failed", 3: "environment changed", 4: "no tests ran"}
# Lines kept of what it prints.
LINES = 40
# Groups of processes at work, and whether no more are to be started.
_running = set()
_stopped = threading.Event()
# How long after its own time limit, in seconds, a run is ended from outside.
GRACE = 30


class Run:
    """What became of a module.

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


def run(python, name, limit):
    """Runs the module in a process and a directory of its own, for at most `limit` seconds."""
    directory = tempfile.mkdtemp(prefix="pye-cpython-")
    try:
        report = os.path.join(directory, "report.xml")
        temporary = os.path.join(directory, "tmp")
        os.mkdir(temporary)
        # Set, so that all draw the same random numbers.
        command = [str(python), "-m", "test", "--randseed", "1", "--fail-env-changed", "--timeout", str(limit), "--junit-xml", report,
                   "--tempdir", temporary, name]
        began = time.monotonic()
        with open(os.path.join(directory, "output"), "w+b") as printed:
            process = subprocess.Popen(command, cwd=temporary, env={**environment(), "TMPDIR": temporary}, stdin=subprocess.DEVNULL,
                                       stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
            _running.add(process.pid)
            try:
                if _stopped.is_set():
                    _kill(process.pid)
                status, crashed = _status(process.wait(limit + GRACE))
            except subprocess.TimeoutExpired:
                status, crashed = "ended after %d s" % (limit + GRACE), True
            finally:
                # What it left behind, too.
                _kill(process.pid)
                process.wait()
                _running.discard(process.pid)
            seconds = time.monotonic() - began
            printed.seek(0)
            lines = printed.read().decode("utf-8", "replace").splitlines()
        if any(line.startswith("Timeout (") for line in lines[-400:]) and status == "exit 1":
            status = "no end in %d s" % limit
        tests, details = parse(report)
        return Run(status, crashed, tests, details, seconds, "\n".join(lines[-LINES:]))
    finally:
        shutil.rmtree(directory, onerror=_writable)


def _status(code):
    if code < 0:
        return "signal %s" % _signal(-code), True
    # A timeout of faulthandler ends a process with 1, as what is raised outside of tests does.
    return STATUSES.get(code, "exit %d" % code), code not in STATUSES


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
        if found is not None:
            return became, (found.text or "") if kind in ("error", "failure") else ""
    return "passed", ""
