"""What is being done."""
import sys


def note(text):
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text)
        sys.stderr.flush()
