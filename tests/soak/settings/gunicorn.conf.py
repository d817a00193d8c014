"""gunicorn's settings for the long run: those of the workload, and what the run needs beyond them.

SOAK_EVENTS   file to which processes append lines of JSON: {"event", "pid", "arbiter": the number of its arbiter}. Events: "arbiter"
              (gunicorn listens), "forked", "ready" (the application is loaded), "ending" (it serves no more), "reaped" (the worker has ended)

Every answer gets a header X-Soak: number of the worker, requests it has served. And each worker answers at two addresses more:
/soak/release imports the module `release` anew and gives what it says, /soak/status gives pye.status(), null without pye.
"""
import importlib
import json
import os
import runpy
import sys

globals().update({name: value for name, value in runpy.run_path("gunicorn.conf.py").items() if not name.startswith("_")})
# Nobody is to be killed for being slow: then every signal that ends a worker is a finding.
graceful_timeout = 120

_events = os.environ["SOAK_EVENTS"]


def _tell(event, pid, arbiter):
    # Opened each time: no descriptor that is there for this alone.
    with open(_events, "ab", buffering=0) as file:
        file.write(json.dumps({"event": event, "pid": pid, "arbiter": arbiter}).encode() + b"\n")


def when_ready(server):
    _tell("arbiter", server.pid, server.pid)


def post_fork(server, worker):
    _tell("forked", os.getpid(), server.pid)


def post_worker_init(worker):
    worker.wsgi = _answering(worker.wsgi, worker)
    _tell("ready", os.getpid(), worker.ppid)


def worker_exit(server, worker):
    _tell("ending", os.getpid(), server.pid)


def child_exit(server, worker):
    _tell("reaped", worker.pid, server.pid)


def _answering(application, worker):
    """The application, with the header, and before it the two addresses."""

    def answer(environ, start_response):
        def start(status, headers):
            return start_response(status, [*headers, ("X-Soak", "%d %d" % (os.getpid(), worker.nr))])

        own = {"/soak/release": _release, "/soak/status": _status}.get(environ["PATH_INFO"])
        if own is None:
            return application(environ, start)
        body = json.dumps(own()).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _release():
    """All that the module says, in constants of each kind; and what loaded it."""
    sys.modules.pop("release", None)
    module = importlib.import_module("release")
    return {"module": module.__doc__, "number": module.NUMBER, "text": module.TEXT, "function": module.describe.__doc__,
            "returned": module.describe(), "loader": type(module.__loader__).__module__}


def _status():
    return sys.modules["pye"].status() if "pye" in sys.modules else None
