"""Requests per second and processor time of the django workload, contenders in turn."""
import concurrent.futures
import contextlib
import time

import attempts
import ksm
import processes
import visits


class Server:
    """One contender's gunicorn, warm, with a clerk for each worker."""

    def __init__(self, port, processes_, clerks, pool):
        self._processes = processes_
        self._clerks = clerks
        self._pool = pool
        self._port = port

    def pass_(self, turn):
        """All clerks at work at once, `turn` deciding the order. Returns requests per second, processor seconds of all server
        processes for each request, and a digest of each clerk's answers of this pass."""
        for clerk in self._clerks:
            clerk.answers.clear()
        cpu, began = processes.cpu_seconds(self._processes), time.monotonic()
        requests = sum(self._pool.map(lambda clerk: clerk.work(turn), self._clerks))
        seconds = time.monotonic() - began
        cpu = processes.cpu_seconds(self._processes) - cpu
        return {"per_second": requests / seconds, "cpu": cpu / requests, "requests": requests,
                "answers": [list(clerk.answers) for clerk in self._clerks]}


@contextlib.contextmanager
def server(environment, workload, contender, activation, workers):
    """The contender's gunicorn in the mode it is for: fork, gunicorn's default, where that is among its modes."""
    mode = contender.modes[0]
    with contextlib.ExitStack() as stack:
        port, ready, started = stack.enter_context(workload.server(
            environment, activation, mode, workers, contender.freeze, ksm.opt_in if contender.ksm else None))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(workers))
        clerks = [visits.Clerk(number, port) for number in range(workers)]
        for clerk in clerks:
            clerk.log_in()
        pids = [one["pid"] for one in ready] + [one.pid for one in started]
        warm = Server(port, pids, clerks, pool)
        # Every worker meets every kind of request before the clock runs.
        for turn in range(2):
            warm.pass_(turn)
        yield warm


def rates(environment, workload, contenders, activations, workers, runs, failed, note):
    """For each contender by name the passes of `runs` rounds. All servers stay up meanwhile, and one at a time has requests."""
    what = "%s, requests to %d workers" % (workload.name, workers)
    with contextlib.ExitStack() as stack:
        servers = {}
        for one in contenders:
            with attempts.attempt(failed, "%s: %s" % (what, one.name)):
                servers[one.name] = stack.enter_context(server(environment, workload, one, activations[one.name], workers))

        def pass_(run, one):
            note(run, one)
            with ksm.running() if one.ksm else contextlib.nullcontext():
                began = ksm.cpu_seconds() if one.ksm else 0.0
                measured = servers[one.name].pass_(2 + run)
                if one.ksm:
                    measured["ksm_cpu"] = (ksm.cpu_seconds() - began) / measured["requests"]
            return measured

        return attempts.in_turn(contenders, runs, failed, what, pass_)
