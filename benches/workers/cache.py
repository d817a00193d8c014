"""A large read-only cache that forked workers read: saved by `pye.dump` and mapped by `pye.load`, against plain objects."""
import contextlib
import json
import os
import socket
import subprocess

import memory
import processes
import timing
from activation import Activation, Unavailable

# Bytes of all objects together, as sys.getsizeof has them.
SIZE, SMALL = 200_000_000, 2_000_000
WORKERS = 4
# As the workers of sessions.py.
PATIENCE = 300

# Name, the form of the file, whether gc.freeze() comes before the fork.
FORMS = [("plain objects", "pickle", False), ("the same, gc.freeze()", "pickle", True), ("pye.load", "pye", False)]


def measure(environment, checkout, rounds, small, unavailable, note):
    """One for each form: {"form", "file": bytes of it, "size": bytes of the objects, "rounds": each {"open": seconds, "growth": for each
    worker bytes of USS after reading all less before, "total_pss": bytes after reading, "read": seconds of each worker}}."""
    size = SMALL if small else SIZE
    directory = environment.work / "cache"
    directory.mkdir(exist_ok=True)
    found = []
    try:
        pye = _package(environment, checkout)
    except Unavailable as reason:
        pye = None
        unavailable["cache: pye.load"] = str(reason)
    activations = {"pickle": Activation(), "pye": pye}
    files = {}
    for form, activation in activations.items():
        if activation is None:
            continue
        note("cache: writing %s" % form)
        files[form] = directory / ("%d.%s" % (size, form))
        done = subprocess.run(
            activation.command(environment, environment.workloads / "cache" / "make.py", form, size, files[form]),
            env=activation.environment(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode != 0:
            if form != "pye":
                raise RuntimeError(done.stdout)
            unavailable["cache: pye.load"] = "pye.dump: " + (done.stdout.strip().splitlines() or ["?"])[-1]
            del files[form]
    os.sync()
    able = [one for one in FORMS if one[1] in files]
    runs = {name: [] for name, _, _ in able}
    for run, (name, form, freeze) in timing.in_turn(able, rounds):
        note("cache: round %d of %d: %s" % (run + 1, rounds, name))
        runs[name].append(_round(environment, activations[form], form, files[form], freeze))
    sums = {one["sum"] for each in runs.values() for one in each}
    if len(sums) != 1:
        raise RuntimeError("workers read different things: %s" % sorted(sums))
    for name, form, _ in able:
        found.append({"form": name, "file": files[form].stat().st_size, "size": size, "rounds": runs[name]})
    return found


def _package(environment, checkout):
    """What has Python find pye with `dump` and `load`."""
    site = checkout / "target" / "site"
    activation = Activation(variables={"PYTHONPATH": str(site)} if (site / "pye").is_dir() else {})
    asked = subprocess.run(activation.command(environment, "-c", "import pye; pye.dump, pye.load"), env=activation.environment(environment),
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
    if asked.returncode != 0:
        raise Unavailable((asked.stderr.strip().splitlines() or ["?"])[-1])
    return activation


def _round(environment, activation, form, path, freeze):
    """A fresh parent that opens the cache and forks workers that read it."""
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        ours.settimeout(PATIENCE)
        script = environment.workloads / "cache" / "share.py"
        holder = stack.enter_context(processes.started(
            activation.command(environment, script, form, path, int(freeze), WORKERS, theirs.fileno()), activation.environment(environment),
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
