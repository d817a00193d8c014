"""gunicorn while it serves: its processes, what they have told, how they ended."""
import contextlib
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time

import processes

# How long a worker may take to come up, and gunicorn to end, in seconds; far more than they need, also on a busy machine.
PATIENCE = 120
# Of <sys/prctl.h>.
PR_SET_CHILD_SUBREAPER = 36
# What gunicorn logs of a worker that did not end by itself, and what an interpreter says before it aborts.
UNSOUND = re.compile(r"Worker \(pid:(\d+)\) (?:was sent|exited with code) .*|WORKER TIMEOUT.*|Exception in worker process.*|Fatal Python error.*")


class Failed(Exception):
    """gunicorn did not do what it must."""


class Server:
    """A running gunicorn. `arbiter` is the process number of the one that is in charge."""

    def __init__(self, port, first, events, log):
        self.port = port
        self.arbiter = first.pid
        self._first = first
        self._events = events
        self._log = log
        # How many bytes of the file of events have been read, and what these lines say.
        self._turn = threading.Lock()
        self._read = 0
        self._said = []
        # Of arbiters: one that did not end well.
        self.ended_badly = []
        # Workers that this program has killed, to see that it is found.
        self._killed = set()

    def said(self, event, arbiter=None):
        """Numbers of the processes of which this was told, in order; of one arbiter, or of all."""
        with self._turn:
            with open(self._events, "rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data[:data.rfind(b"\n") + 1]
            self._read += len(whole)
            self._said += map(json.loads, whole.splitlines())
            return [one["pid"] for one in self._said if one["event"] == event and arbiter in (None, one["arbiter"])]

    def live(self):
        """(worker, arbiter) of all workers that are ready and have not begun to end."""
        return [(worker, arbiter) for arbiter in self.arbiters() for worker in self.said("ready", arbiter) if self.serves(worker, arbiter)]

    def serves(self, worker, arbiter):
        """Whether the worker, which was ready, has not begun to end."""
        return worker not in self.said("ending", arbiter) and worker not in self.said("reaped", arbiter)

    def arbiters(self):
        """All that have not ended."""
        return [arbiter for arbiter in self.said("arbiter") if not _is_over(arbiter)]

    def wait_ready(self, arbiter, workers):
        """Until so many workers of the arbiter have said that they are ready."""
        def are():
            if processes.has_ended(self._first) and arbiter == self._first.pid:
                raise processes.ended(self._first)
            return len(self.said("ready", arbiter)) >= workers

        processes.within(PATIENCE, "%d workers of arbiter %d" % (workers, arbiter), are)

    def ask(self, path):
        """The JSON that some worker gives."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.loads(answer.read())
        finally:
            connection.close()

    def replace(self, workers):
        """Has gunicorn execute itself anew beside the old one, as one upgrades it, and then the old one end."""
        old, known = self.arbiter, set(self.said("arbiter"))
        again = 0.0

        def is_there():
            nonlocal again
            # gunicorn is deaf to it until it has noticed that its predecessor has ended, and once it has a successor.
            if time.monotonic() > again:
                os.kill(old, signal.SIGUSR2)
                again = time.monotonic() + 1
            return set(self.said("arbiter")) - known

        processes.within(PATIENCE, "a new arbiter", is_there)
        (new,) = set(self.said("arbiter")) - known
        self.wait_ready(new, workers)
        self.arbiter = new
        self._end(old)

    def end(self):
        """Has gunicorn end by itself."""
        self._end(self.arbiter)

    def see_a_kill(self, workers):
        """Kills a worker, and sees that it is noticed: else that nothing crashed would say nothing."""
        victim = self.said("ready", self.arbiter)[0]
        before = len(self.said("ready", self.arbiter))
        os.kill(victim, signal.SIGKILL)
        self._killed.add(str(victim))
        processes.within(PATIENCE, "gunicorn's word of a killed worker",
                         lambda: any(match.group(1) == str(victim) for match in self._unsound()))
        self.wait_ready(self.arbiter, before + 1)

    def crashes(self):
        """What is in the log of workers that were killed or failed, and arbiters that did not end well; but for those killed here."""
        return [match.group() for match in self._unsound() if match.group(1) not in self._killed] + self.ended_badly

    def _unsound(self):
        with open(self._log, errors="replace") as file:
            return list(UNSOUND.finditer(file.read()))

    def _end(self, arbiter):
        os.kill(arbiter, signal.SIGTERM)
        processes.within(PATIENCE, "the end of arbiter %d" % arbiter, lambda: _is_over(arbiter))
        # Ours: those whose parent has ended came to us, see `adopt`. The first one is waited for by who started it.
        status = os.waitid(os.P_PID, arbiter, os.WEXITED | os.WNOWAIT)
        if status.si_code != os.CLD_EXITED or status.si_status != 0:
            how = "by signal" if status.si_code != os.CLD_EXITED else "with status"
            self.ended_badly.append("arbiter %d ended %s %d" % (arbiter, how, status.si_status))
        if arbiter != self._first.pid:
            os.waitpid(arbiter, 0)


def _is_over(pid):
    """Whether the process has ended, waited for or not."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def adopt():
    """Makes this process the parent of descendants whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failed("prctl(PR_SET_CHILD_SUBREAPER): %s" % os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def running(measured, workload, activation, workers, max_requests, settings, log):
    """The Server, its workers ready, over a database of its own. At the end all of it is ended."""
    with tempfile.TemporaryDirectory(dir=measured.scratch) as scratch, socket.socket() as free:
        database, events = os.path.join(scratch, "library.sqlite3"), os.path.join(scratch, "events")
        shutil.copyfile(str(measured.work / "library.sqlite3"), database)
        open(events, "wb").close()
        open(log, "wb").close()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = activation.command(
            measured, measured.python.parent / "gunicorn", "--config", settings, "--workers", workers, "--bind", "127.0.0.1:%d" % port,
            "--max-requests", max_requests, "--max-requests-jitter", max_requests // 3, "project.wsgi")
        with processes.started(command, activation.environment(measured, LIBRARY_DATABASE=database, SOAK_EVENTS=events), str(log),
                               directory=str(workload.directory(measured))) as first:
            server = Server(port, first, events, str(log))
            server.wait_ready(first.pid, workers)
            yield server
