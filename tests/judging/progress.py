"""What is being done: on a terminal one line, else a line now and then."""
import sys
import threading
import time

# Seconds between two lines on what is being done, where there is no terminal.
EVERY = 60


class Progress:
    """Tells of `total` pieces of work, from several threads."""

    def __init__(self, total):
        self.total = total
        self.finished = 0
        self.different = 0
        self.began = self.told = time.monotonic()
        self.names = []
        self.lock = threading.Lock()

    def step(self, text):
        with self.lock:
            self._write(text)
            if not sys.stderr.isatty():
                sys.stderr.write("\n")

    def running(self, text):
        return _Running(self, text)

    def done(self, found):
        """A piece of work is, and these differences were found."""
        with self.lock:
            self.finished += 1
        self.found(found)

    def found(self, found):
        with self.lock:
            for each in found:
                self.different += 1
                self._write("%s (%s): %s: %s, stock %s%s" % (each.test, each.form, each.module, each.pye, each.stock,
                                                             "; explained" if each.reason else ""))
                sys.stderr.write("\n")
            self._status()

    def _status(self):
        now = time.monotonic()
        if sys.stderr.isatty() or now - self.told >= EVERY:
            self.told = now
            self._write("[%3d/%d] %d min, %d different; %s" % (self.finished, self.total, (now - self.began) // 60, self.different, ", ".join(self.names)))
            if not sys.stderr.isatty():
                sys.stderr.write("\n")

    def _write(self, text):
        sys.stderr.write(("\r\033[K" if sys.stderr.isatty() else "") + text)
        sys.stderr.flush()

    def end(self):
        if sys.stderr.isatty():
            self._write("")


class _Running:
    def __init__(self, progress, text):
        self.progress = progress
        self.text = text

    def __enter__(self):
        with self.progress.lock:
            self.progress.names.append(self.text)
            self.progress._status()

    def __exit__(self, *_):
        with self.progress.lock:
            self.progress.names.remove(self.text)
