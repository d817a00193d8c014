"""A large read-only cache that forked workers read: saved by `pye.dump` and mapped by `pye.load`, against plain objects."""
import contextlib
import json
import os
import socket
import subprocess
from dataclasses import dataclass

import attempts
import memory
import processes
from activation import Activation, Unavailable

# Bytes of all objects together (workloads/cache/make.py).
SIZE, SMALL = 200_000_000, 2_000_000
WORKERS = 4
# As the workers of sessions.py.
PATIENCE = 300


@dataclass(frozen=True)
class Form:
    """What workers read.

    name    for tables
    file    what it is read from: a pickle, or what pye.dump has written
    freeze  gc.freeze() before the fork
    """

    name: str
    file: str
    freeze: bool


FORMS = [Form("plain objects", "pickle", False), Form("the same, gc.freeze()", "pickle", True), Form("pye.load", "pye", False)]


def measure(environment, checkout, rounds, small, unavailable, failed, note):
    """One for each form: {"form", "file": bytes of it, "size": bytes of the objects, "rounds": each {"open": seconds, "growth": for each
    worker bytes of USS after reading all less before, "total_pss": bytes after reading, "read": seconds of each worker}}."""
    size = SMALL if small else SIZE
    try:
        pye = _package(environment, checkout)
    except Unavailable as reason:
        pye = None
        unavailable["cache: pye.load"] = str(reason)
    activations = {"pickle": Activation(), "pye": pye}
    files = {}
    for form, activation in activations.items():
        if activation is not None:
            note("cache: writing %s" % form)
            with attempts.attempt(failed, "cache, writing: " + form):
                files[form] = _write(environment, activation, form, size)
    os.sync()
    able = [one for one in FORMS if one.file in files]

    def round_(run, one):
        note("cache: round %d of %d: %s" % (run + 1, rounds, one.name))
        return _round(environment, activations[one.file], one, files[one.file])

    runs = attempts.in_turn(able, rounds, failed, "cache", round_)
    with attempts.attempt(failed, "cache"):
        _one({each["sum"] for rounds_ in runs.values() for each in rounds_})
    return [{"form": one.name, "file": files[one.file].stat().st_size, "size": size, "rounds": runs[one.name]}
            for one in able if one.name in runs]


def _write(environment, activation, form, size):
    """The file."""
    path = environment.work / ("cache-%d.%s" % (size, form))
    command = activation.command(environment, environment.workloads / "cache" / "make.py", form, size, path)
    done = subprocess.run(command, env=activation.environment(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    if done.returncode != 0:
        raise processes.Ended("%s\n%s" % (" ".join(command), done.stdout.strip()))
    return path


def _package(environment, checkout):
    """What has Python find pye with `dump` and `load`."""
    site = checkout / "target" / "site"
    activation = Activation(variables={"PYTHONPATH": str(site)} if (site / "pye").is_dir() else {})
    asked = subprocess.run(activation.command(environment, "-c", "import pye; pye.dump, pye.load"), env=activation.environment(environment),
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
    if asked.returncode != 0:
        raise Unavailable((asked.stderr.strip().splitlines() or ["?"])[-1])
    return activation


def _round(environment, activation, form, path):
    """A fresh parent that opens the cache and forks workers that read it."""
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        ours.settimeout(PATIENCE)
        script = environment.workloads / "cache" / "share.py"
        holder = stack.enter_context(processes.started(
            activation.command(environment, script, form.file, path, int(form.freeze), WORKERS, theirs.fileno()), activation.environment(environment),
            str(environment.work / "log"), pass_fds=[theirs.fileno()]))
        theirs.close()
        answers = stack.enter_context(ours.makefile("rb"))

        def answer():
            line = answers.readline()
            if not line:
                raise processes.ended(holder)
            return json.loads(line)

        opened = answer()
        before = memory.snapshot(opened["workers"], [holder.pid])
        ours.sendall(b"read\n")
        read = answer()
        after = memory.snapshot(opened["workers"], [holder.pid])
    return {
        "open": opened["seconds"],
        "growth": [b["uss"] - a["uss"] for a, b in zip(before["workers"], after["workers"])],
        "total_pss": after["total_pss"],
        "read": [one["seconds"] for one in read],
        "sum": _one({one["sum"] for one in read}),
    }


def _one(values):
    if len(values) != 1:
        raise RuntimeError("workers read different things: %s" % sorted(values))
    return values.pop()
