"""What each process holds, looked at again and again while all work."""
import os
import threading
import time

import memory


class Sampler(threading.Thread):
    """Looks at all processes of the server every `interval` seconds. `samples` are dictionaries:

    time            seconds since the clock began to run
    pid, arbiter    number of the process, and of its arbiter, which is its own where it is one
    age             requests that a worker has served; seconds since an arbiter was first seen
    uss, pss, rss   bytes
    descriptors, threads
    mappings, of_packages, of_deleted, generations: see generations.Generations.mapped
    """

    def __init__(self, server, tally, generations, interval):
        super().__init__(daemon=True)
        self.samples = []
        # What ended the thread, if it was not told to end.
        self.error = None
        self._server = server
        self._tally = tally
        self._generations = generations
        self._interval = interval
        self._seen = {}
        self._told_to_end = threading.Event()
        self._began = time.monotonic()

    def run(self):
        try:
            while not self._told_to_end.wait(self._interval):
                self.look()
        except Exception as error:
            self.error = "%s: %s" % (type(error).__name__, error)

    def end(self):
        self._told_to_end.set()
        self.join()

    def look(self):
        """Once at every process."""
        for arbiter in self._server.arbiters():
            first = self._seen.setdefault(arbiter, time.monotonic())
            self._add(arbiter, arbiter, lambda: time.monotonic() - first, lambda: True)
        for worker, arbiter in self._server.live():
            self._add(worker, arbiter, lambda: self._tally.served.get(worker, 0), lambda: self._server.serves(worker, arbiter))

    def _add(self, pid, arbiter, age, still):
        """One sample, unless the process has ended meanwhile, or is not `still` at work: what ends gives back what it has."""
        try:
            found = of_process(pid, self._generations)
        except (OSError, KeyError):
            # It has ended: there are no sums of nothing.
            return
        if not still():
            return
        self.samples.append({"time": time.monotonic() - self._began, "pid": pid, "arbiter": arbiter, "age": age(), **found})


def of_process(pid, generations):
    """All of a sample that is read from /proc."""
    with open("/proc/%d/maps" % pid) as file:
        mapped = generations.mapped(file.read())
    sums = memory.of_process(pid)
    return {"uss": sums["uss"], "pss": sums["pss"], "rss": sums["rss"], "descriptors": len(os.listdir("/proc/%d/fd" % pid)),
            "threads": len(os.listdir("/proc/%d/task" % pid)), **mapped}
