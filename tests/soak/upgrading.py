"""The package files, and the application, replaced while it runs."""
import os
import shutil
import threading
import time


class Upgrader(threading.Thread):
    """Makes so many upgrades, evenly spread over the seconds, and now and then has gunicorn execute itself anew.

    One upgrade edits the application and links its package anew, as `pye link` does after `pip install`; the next one replaces a package
    by a copy of it, as `pye install` does, in turn each but the application's.
    """

    def __init__(self, served, released, generations, server, workers, seconds, upgrades, restarts, in_use):
        super().__init__(daemon=True)
        self.upgrades = self.restarts = 0
        self.error = None
        # For each arbiter that was started: the generations of packages then, and what is wrong with the form in use under it.
        self.arbiters = {server.arbiter: dict(generations.current)}
        self.not_in_use = []
        self._served = served
        self._released = released
        self._generations = generations
        self._server = server
        self._workers = workers
        self._upgrades = upgrades
        # After which upgrades gunicorn is executed anew.
        self._restart_after = {upgrades * (number + 1) // (restarts + 1) for number in range(restarts)} - {0}
        self._seconds = seconds
        self._in_use = in_use
        self._told_to_end = threading.Event()

    def run(self):
        began = time.monotonic()
        try:
            for number in range(self._upgrades):
                due = began + self._seconds * (number + 0.5) / self._upgrades
                if self._told_to_end.wait(max(0, due - time.monotonic())):
                    return
                self.upgrade(number)
                if self.upgrades in self._restart_after:
                    self.restart()
        except Exception as error:
            self.error = "%s: %s" % (type(error).__name__, error)

    def end(self, wait):
        """Waits for all upgrades, or has it end after the one under way."""
        if not wait:
            self._told_to_end.set()
        self.join()

    def upgrade(self, number):
        """The next one."""
        others = self._served.packages[:-1]
        if number % 2 == 0 or not others:
            self._released.next()
            self._served.relink()
            for package in self._served.packages[-1:]:
                self._generations.replaced(package)
        else:
            package = others[number // 2 % len(others)]
            copy_over(package)
            self._generations.replaced(package)
        self.upgrades += 1

    def restart(self):
        """gunicorn executed anew, its packages then the current ones."""
        current = dict(self._generations.current)
        self._server.replace(self._workers)
        self.arbiters[self._server.arbiter] = current
        self.restarts += 1
        reason = self._in_use()
        if reason:
            self.not_in_use.append("after restart %d: %s" % (self.restarts, reason))


def copy_over(package):
    """Puts a copy of a file in its place, in one step."""
    part = str(package) + ".part"
    shutil.copyfile(str(package), part)
    os.replace(part, str(package))
