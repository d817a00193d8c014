"""One run of one test module."""
import os
import tempfile

from judging import process
from judging.command import environment

# Of `python -m test`, test/libregrtest. A timeout of faulthandler ends a process with 1, as what is raised outside of tests does.
STATUSES = {0: "passed", 2: "failed", 3: "environment changed", 4: "no tests ran"}
# How long after its own time limit, in seconds, a run is ended from outside.
GRACE = 30


def run(python, name, limit):
    """Runs the module in a process and a directory of its own, for at most `limit` seconds."""
    directory = tempfile.mkdtemp(prefix="pye-cpython-")
    try:
        temporary = os.path.join(directory, "tmp")
        os.mkdir(temporary)
        # Set, so that all draw the same random numbers.
        command = [python, "-m", "test", "--randseed", "1", "--fail-env-changed", "--timeout", limit, "--junit-xml",
                   os.path.join(directory, "report.xml"), "--tempdir", temporary, name]
        ran, lines = process.run(command, directory, limit + GRACE, STATUSES, temporary, {**environment(), "TMPDIR": temporary})
        if ran.status == "exit 1" and any(line.startswith("Timeout (") for line in lines[-400:]):
            ran.status = "no end in %d s" % limit
        return ran
    finally:
        process.remove(directory)
