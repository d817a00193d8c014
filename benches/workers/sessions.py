"""The workloads as the benchmark drives them: N workers, started in one of the launch modes, that do a stage when told."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import containers
import processes
import visits
from contenders import ALONE

# How long workers may take to come up or to do a stage, in seconds; far more than they need, also on a busy machine.
PATIENCE = 300


class Session:
    """Live workers, all at the same stage. `workers` and `parents` are process numbers."""

    def __init__(self, workers, parents):
        self.workers = workers
        self.parents = parents

    def collect(self):
        """Stage B, in all workers at once."""
        raise NotImplementedError

    def work(self):
        """Stage C but for its collection: real work, all workers at once. Returns for each worker the list of its answers."""
        raise NotImplementedError

    def sweep(self):
        """Stage D, in all workers at once."""
        raise NotImplementedError

    def end(self):
        """Has all workers end by themselves, not by a signal that nobody handles, and waits for what started them: a tracer writes
        what it has found only then. Nothing more can be asked of the session."""
        raise NotImplementedError


class Django:
    """The library under gunicorn."""

    name = "django"
    variables = {"DJANGO_SETTINGS_MODULE": "project.settings"}

    @staticmethod
    def directory(environment):
        return environment.workloads / "django"

    def prepare(self, environment):
        """The database that each server starts from a copy of."""
        # Its own name for each version of what makes it.
        database = self._database(environment)
        if not database.exists():
            part = database.with_suffix(".part")
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            subprocess.run([str(environment.python), "fill.py"], check=True, cwd=str(self.directory(environment)),
                           env={**environment.base(), "LIBRARY_DATABASE": str(part)})
            part.replace(database)

    @contextlib.contextmanager
    def server(self, environment, activation, mode, workers, freeze, before_exec, stages=False):
        """gunicorn on the loopback interface, all its workers ready: the port, what each worker said, the first process of
        each server. Where workers are alone, each has a server of its own."""
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=environment.scratch))
            database = os.path.join(scratch, "library.sqlite3")
            shutil.copyfile(str(self._database(environment)), database)
            receive, send = os.pipe()
            stack.callback(os.close, receive)
            try:
                variables = {"LIBRARY_DATABASE": database, "BENCH_READY_FD": str(send)}
                if freeze:
                    variables["BENCH_FREEZE"] = "1"
                if stages:
                    variables["BENCH_STAGES"] = str(environment.workloads)
                port = _free_port()
                options = ["--config", "gunicorn.conf.py"] + (["--preload"] if mode == "preload" else [])
                each = 1 if mode in ALONE else workers
                servers = []
                for number in range(workers // each):
                    bind = "127.0.0.1:%d" % (port if number == 0 else _free_port())
                    command = activation.command(
                        environment, environment.python.parent / "gunicorn", *options, "--workers", each, "--bind", bind, "project.wsgi")
                    if mode == "container":
                        command = containers.command(scratch, number, command, environment.layers, environment.runtime)
                    servers.append(stack.enter_context(processes.started(
                        command, activation.environment(environment, **variables), os.path.join(str(environment.work), "log"),
                        directory=str(self.directory(environment)), pass_fds=(send,), before_exec=before_exec)))
            finally:
                os.close(send)
            yield port, _lines(receive, workers, servers), servers

    @contextlib.contextmanager
    def session(self, environment, activation, mode, workers, freeze, before_exec):
        with self.server(environment, activation, mode, workers, freeze, before_exec, stages=True) as (_, ready, servers):
            with concurrent.futures.ThreadPoolExecutor(workers) as pool:
                yield _DjangoSession(ready, servers, pool)

    @staticmethod
    def _database(environment):
        return environment.work / "library.sqlite3"


class _DjangoSession(Session):
    def __init__(self, ready, servers, pool):
        workers = [processes.outside(one["pid"], one["namespace"]) for one in ready]
        # gunicorn itself, which what started it may have left waiting for it.
        super().__init__(workers, sorted({processes.parent_of(worker) for worker in workers}))
        self._servers = servers
        self._ports = [one["port"] for one in ready]
        self._pool = pool

    def collect(self):
        list(self._pool.map(lambda port: _get(port, "/stage/collect"), self._ports))

    def sweep(self):
        list(self._pool.map(lambda port: _get(port, "/stage/sweep"), self._ports))

    def work(self):
        def one(number, port):
            clerk = visits.Clerk(number, port)
            clerk.log_in()
            clerk.work()
            return clerk.answers

        return list(self._pool.map(one, range(len(self._ports)), self._ports))

    def end(self):
        for arbiter in self.parents:
            os.kill(arbiter, signal.SIGTERM)
        processes.within(PATIENCE, "the end of gunicorn", lambda: all(map(processes.has_ended, self._servers)))


class Science:
    """Scripts that read a table, fit a model and draw a chart."""

    name = "science"
    variables = {}

    @staticmethod
    def directory(environment):
        return environment.workloads / "science"

    def prepare(self, environment):
        """Nothing: each worker writes its table itself."""

    @contextlib.contextmanager
    def session(self, environment, activation, mode, workers, freeze, before_exec):
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=environment.scratch))
            ours, theirs = zip(*(socket.socketpair() for _ in range(workers)))
            for one in ours:
                stack.callback(one.close)
                one.settimeout(PATIENCE)
            how = "freeze" if freeze else "spawn" if mode in ALONE else mode
            started = []
            groups = [[one] for one in theirs] if mode in ALONE else [list(theirs)]
            first = 0
            for group in groups:
                fds = [one.fileno() for one in group]
                command = activation.command(environment, "worker.py", how, scratch, first, *fds)
                if mode == "container":
                    command = containers.command(scratch, first, command, environment.layers, environment.runtime)
                started.append(stack.enter_context(processes.started(
                    command, activation.environment(environment), os.path.join(str(environment.work), "log"),
                    directory=str(self.directory(environment)), pass_fds=fds, before_exec=before_exec)))
                first += len(group)
            for one in theirs:
                one.close()
            session = _ScienceSession(ours, started)
            if mode not in ALONE:
                session.parents = [process.pid for process in started]
            yield session


class _ScienceSession(Session):
    def __init__(self, sockets, started):
        self._sockets = sockets
        self._started = started
        self._files = [one.makefile("rb") for one in sockets]
        super().__init__([processes.outside(answer["pid"], answer["namespace"]) for answer in self._answers()], [])

    def _answers(self):
        """One line from each worker."""
        answers = []
        for file in self._files:
            line = file.readline()
            if not line:
                raise processes.ended(self._started[0])
            answers.append(json.loads(line))
        return answers

    def _tell(self, word):
        for one in self._sockets:
            one.sendall(word.encode() + b"\n")
        return self._answers()

    def collect(self):
        self._tell("collect")

    def sweep(self):
        self._tell("sweep")

    def work(self):
        return [["%s %s" % (answer["found"], answer["picture"])] for answer in self._tell("work")]

    def end(self):
        for one in (*self._files, *self._sockets):
            one.close()
        processes.within(PATIENCE, "the end of the workers", lambda: all(map(processes.has_ended, self._started)))


WORKLOADS = {workload.name: workload for workload in (Django(), Science())}


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 204:
        raise visits.UnexpectedAnswer("%s: status %d, expected 204" % (path, answer.status))


def _lines(fd, number, started):
    """So many lines of JSON from a pipe that the processes of `started` write to."""
    data, end = b"", time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while data.count(b"\n") < number:
            if not selector.select(timeout=1):
                for process in started:
                    if processes.has_ended(process):
                        raise processes.ended(process)
                if time.monotonic() > end:
                    raise TimeoutError("%d of %d workers said that they are ready, within %d s" % (data.count(b"\n"), number, PATIENCE))
                continue
            more = os.read(fd, 65536)
            if not more:
                raise processes.ended(started[0])
            data += more
    return [json.loads(line) for line in data.splitlines()]
