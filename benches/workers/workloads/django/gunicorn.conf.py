"""gunicorn's settings. What the benchmark needs beyond them is asked for in the environment, and off otherwise:

BENCH_READY_FD   each worker writes a line of JSON to it when its application is loaded: {"pid": …, "namespace": the inode
                 number of its PID namespace, "port": …}
BENCH_STAGES     each worker listens on a port of its own as well, where /stage/collect and /stage/sweep do what they say
BENCH_FREEZE     gc.freeze() before the fork, as the documentation of gc has it (with preload_app)
"""
import gc
import json
import os
import socket
import sys

worker_class = "sync"
# Nobody asks about the state of the server, and servers run side by side.
control_socket_disable = True
# Waiting at a stage is no failure.
timeout = 600
graceful_timeout = 5
loglevel = "warning"

_freeze = bool(os.environ.get("BENCH_FREEZE"))
_stages = bool(os.environ.get("BENCH_STAGES"))
_ready = int(os.environ.get("BENCH_READY_FD", "-1"))

if _freeze:
    gc.disable()
if _stages:
    sys.path.insert(0, os.environ["BENCH_STAGES"])
    import stages


def when_ready(server):
    if _freeze:
        gc.freeze()


def post_fork(server, worker):
    if _freeze:
        gc.enable()
    if _stages:
        worker.bench_listener = socket.create_server(("127.0.0.1", 0))
        worker.sockets = [*worker.sockets, worker.bench_listener]


def post_worker_init(worker):
    port = None
    if _stages:
        port = worker.bench_listener.getsockname()[1]
        worker.wsgi = _answering_stages(worker.wsgi)
    if _ready >= 0:
        os.write(_ready, json.dumps({"pid": os.getpid(), "namespace": os.stat("/proc/self/ns/pid").st_ino, "port": port}).encode() + b"\n")


def _answering_stages(application):
    """The application, and before it the two addresses at which a worker does a stage."""

    def answer(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/stage/collect":
            stages.collect()
        elif path == "/stage/sweep":
            stages.sweep()
        else:
            return application(environ, start_response)
        start_response("204 No Content", [])
        return []

    return answer
