"""The interpreter under test: what it is, its virtual environments, and the packages these import from."""
import os
import shutil
import subprocess
import sys

from judging.command import Unusable, environment, output
from judging.interpreter import IMAGE, STOCK, describe, forms, served

# Shortest text and byte string to cut out: what `pye install` takes.
THRESHOLDS = ["--min-blob", "32", "--min-bytes", "4096"]
# On sys.path themselves, below the directory of the standard library.
OTHERS = ["site-packages", "dist-packages"]

# What `pye install` has every start execute, with the manifest beside it; see src/activate/install.rs.
PTH = 'import sys; exec("try:\\n import pye\\n pye.activate_installed()\\nexcept Exception:\\n pass\\n")\n'


class Interpreter:
    """A CPython that has its test suite, under its own name in `about` and in one virtual environment for each form.

    The environments are told apart by what they import from and by nothing else: one .pth activates pye as `pye install` does, so that
    also what tests start with -I, or with another environment, is served.

    python  the program
    site    directory with the package `pye`, as python/stage lays it out; each environment gets a copy
    work    directory for what is made
    """

    def __init__(self, python, site, work):
        self.python = python
        self.site = site
        self.work = work
        self.about = describe(python)
        self.version = tuple(self.about["version"][:2])
        if not self.about["tests"]:
            raise Unusable("%s has no test suite: install its package `test` (Debian: libpython3.x-testsuite)" % python)

    def forms(self):
        """The forms that pye has for it."""
        return forms(self.about)

    def modules(self):
        """The names of all test modules, in the order of the suite."""
        return output(self.python, "-m", "test", "--list-tests", env=environment()).split()

    def compile(self):
        """Writes the .pyc files that are missing, as running the tests would; what cannot be written the stock import serves."""
        for root in self.about["roots"]:
            # Some sources are wrong on purpose.
            subprocess.run([self.python, "-m", "compileall", "-qq", "-j", "2", root], env=environment(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def make(self, form, link=None):
        """The interpreter of a new virtual environment, which imports the standard library in this form, and what pye says of it.
        `link` (a directory and the package file to write) is for tests, and otherwise `pye link`.
        """
        place = self.work / form
        output(self.python, "-m", "venv", "--clear", "--without-pip", "--symlinks", str(place), env=environment())
        python = place / "bin" / "python"
        packages = next(path for path in place.glob("lib/python3*/site-packages"))
        if form == STOCK:
            # Of no effect, but there: some tests ask.
            (packages / "pye.pth").write_text("# no pye\n")
            return python, None
        share = place / "share" / "pye"
        share.mkdir(parents=True)
        os.chmod(share, 0o755)
        lines = []
        for number, root in enumerate(self.about["roots"]):
            package = share / ("%d.pye" % number)
            # Beside the first there are extension modules only.
            (link or self.link)(root, package, form == IMAGE and number == 0)
            os.chmod(package, 0o644)
            lines.append("%s\t%s\n" % (root, package.name))
        (share / "manifest").write_text("".join(lines))
        # As pip has it: what is in site-packages is nobody's to trace or to count.
        shutil.copytree(self.site / "pye", packages / "pye")
        (packages / "pye.pth").write_text(PTH)
        return python, served(python, form, self.about["roots"][0], environment())

    def link(self, root, package, image):
        """Links the directory `root` into `package`."""
        options = ["--image", "--python", str(self.python)] if image else []
        options += [word for name in OTHERS for word in ("--exclude", name)]
        command = [sys.executable, "-m", "pye", "link", *THRESHOLDS, "--tag", self.about["cache_tag"], *options, root, "--output", str(package)]
        output(*command, env={**environment(), "PYTHONPATH": str(self.site)})

    def directories(self):
        """When each directory of the standard library changed, which is what tells pye that a package is not true of it any more."""
        times = {}
        for root in self.about["roots"]:
            for directory, below, _ in os.walk(root):
                below[:] = [name for name in below if name != "__pycache__" and name not in OTHERS]
                times[directory] = os.stat(directory).st_mtime_ns
        return times
