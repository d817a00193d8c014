"""The virtual environment that is measured, and the copy of the workloads that runs in it."""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent

# The versions that published figures name; they need Python 3.12. Older ones take the newest that fits.
REQUIREMENTS = {
    "django": ["Django==6.1.3", "djangorestframework==3.18.3", "celery==5.7.0", "SQLAlchemy==2.1.9", "requests==2.34.2",
               "gunicorn==27.0.1"],
    "science": ["pandas==3.1.1", "scipy==1.18.1", "scikit-learn==1.9.1", "matplotlib==3.11.2", "numpy==2.5.5"],
}
PINNED_FROM = (3, 12)


def requirements(version, workloads):
    """What pip is asked for, for an interpreter of this version."""
    wanted = [requirement for name in workloads for requirement in REQUIREMENTS[name]]
    return wanted if tuple(version) >= PINNED_FROM else [requirement.partition("==")[0] for requirement in wanted]


# Run by the interpreter to be measured.
DESCRIBE = """
import json, os, platform, sys, sysconfig
paths = sysconfig.get_paths()
# A distribution may have the library, too, and a program that does not use it.
with open("/proc/self/maps") as maps:
    shared = "/libpython" in maps.read()
print(json.dumps({
    "version": list(sys.version_info[:3]), "debug": hasattr(sys, "gettotalrefcount"), "virtual": sys.prefix != sys.base_prefix,
    "implementation": platform.python_implementation(), "compiler": platform.python_compiler(),
    "shared": shared, "address": id(type),
    "stdlib": paths["stdlib"], "site": paths["purelib"], "cache_tag": sys.implementation.cache_tag,
    "executable": os.path.realpath(sys.executable),
}))
"""


class CannotMeasure(Exception):
    """What is missing, and what to do about it."""


class Environment:
    """The interpreter under measurement and where its files lie.

    python   the interpreter in the virtual environment
    about    what DESCRIBE says of it
    work     directory for what is made for this environment; in it `workloads` and `sites`, copies
    scratch  directory in memory, where there is one, for databases and tables: no disk in the figures
    layers   directories that containers have over the machine's root, the topmost first
    runtime  what starts containers; None for the usual one
    """

    def __init__(self, python, work, scratch):
        self.python = python
        self.about = describe(python)
        self.work = work
        self.scratch = scratch
        self.layers = []
        self.runtime = None
        self.workloads = work / "workloads"
        self.sites = work / "sites"
        # So that no .pyc appears in the checkout.
        copy(HERE / "workloads", self.workloads)
        copy(HERE / "sites", self.sites)
        self.versions = self._versions()

    def base(self):
        """The environment variables that all contenders have. Nothing of the caller's PYTHON* comes in: strings are hashed
        with a random seed, as by default."""
        variables = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
        variables.update(
            LANG="C.UTF-8",
            # The .pyc files are complete when measuring begins, and stay as they are.
            PYTHONDONTWRITEBYTECODE="1",
            MPLBACKEND="Agg",
            MPLCONFIGDIR=str(self.work / "matplotlib"),
            # One thread a worker, as one sets it where there are as many workers as processors.
            OMP_NUM_THREADS="1",
            OPENBLAS_NUM_THREADS="1",
        )
        return variables

    def lacks(self, workload):
        """The distributions that the workload needs and the environment has not."""
        names = [requirement.partition("==")[0] for requirement in REQUIREMENTS[workload]]
        return [name for name in names if name.lower() not in self.versions]

    def _versions(self):
        script = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
        return json.loads(output(self.python, "-c", script))


def copy(source, target):
    """The sources of a tree. Files that are the same keep their time, and so their .pyc."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        if not to.exists() or to.read_bytes() != path.read_bytes():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def describe(python):
    """What the interpreter says of itself."""
    try:
        about, again = (json.loads(output(python, "-c", DESCRIBE)) for _ in range(2))
        # By its linker, or by `pye pin`: with randomisation on, two processes agree by nothing else.
        about["fixed"] = about["address"] == again["address"]
        return about
    except OSError as error:
        raise CannotMeasure("%s does not run: %s" % (python, error.strerror)) from None
    except (subprocess.CalledProcessError, ValueError):
        raise CannotMeasure("%s is no CPython 3.9 or newer" % python) from None


def output(*command, **options):
    """What a command prints; CalledProcessError unless it succeeds."""
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, universal_newlines=True, **options).stdout


def given(directory):
    """The interpreter of a virtual environment that the caller names."""
    python = pathlib.Path(directory).absolute() / "bin" / "python"
    if not python.exists():
        raise CannotMeasure("--venv %s: no bin/python in it" % directory)
    return python


def usual():
    """The newest CPython 3.12 at hand, which figures are published for, or else the newest; as benches/corpus chooses."""
    script = '. "$0"; candidates | sort -u | while read -r path; do echo "$(describe "$path") $path"; done'
    found = []
    for line in output("bash", "-c", script, HERE.parents[1] / "demo" / "pythons.bash").splitlines():
        fields = line.split(" ", 2)
        # Of those that are none, describe says nothing.
        if len(fields) == 3 and fields[0].isdigit():
            found.append((fields[1].startswith("3.12."), int(fields[0]), fields[2]))
    if not found:
        raise CannotMeasure("no CPython 3.9 to 3.15 on PATH, under pyenv or uv; install one, or name one by --python or --venv")
    return max(found)[2]


def made(python, out, workloads):
    """The interpreter of a virtual environment under `out` with what the workloads need; made, or completed, when it is not
    there. Needs the network the first time."""
    about = describe(python)
    version = ".".join(str(number) for number in about["version"])
    directory = out / ("venv-%s%s" % (version, "-debug" if about["debug"] else ""))
    record = directory / "requirements.json"
    wanted = requirements(about["version"], workloads)
    have = json.loads(record.read_text()) if record.exists() else {"of": about["executable"], "requirements": []}
    if have["of"] != about["executable"]:
        shutil.rmtree(directory)
        have = {"of": about["executable"], "requirements": []}
    missing = [requirement for requirement in wanted if requirement not in have["requirements"]]
    if missing:
        print("making %s: %s" % (directory, " ".join(missing)), flush=True)
        if not record.exists():
            _make(python, directory)
        _run([directory / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
              *missing],
             "pip cannot install the packages: they need the network the first time, and Python 3.9 or newer; --venv DIR names "
             "an environment that has them")
        record.write_text(json.dumps({"of": about["executable"], "requirements": have["requirements"] + missing}))
    return directory / "bin" / "python"


def _make(python, directory):
    """An empty virtual environment with pip: by venv, or where that lacks ensurepip, as Debian's does, by virtualenv."""
    try:
        _run([python, "-m", "venv", "--clear", directory], "")
    except CannotMeasure as reason:
        if importlib.util.find_spec("virtualenv") is None:
            version = "%d.%d" % tuple(describe(python)["version"][:2])
            raise CannotMeasure("%s%s cannot make a virtual environment: pip install virtualenv (on Debian also: apt install python%s-venv); "
                                "or name one by --venv DIR" % (reason, python, version)) from None
        _run([sys.executable, "-m", "virtualenv", "--quiet", "--clear", "--python", python, directory],
             "neither venv nor virtualenv can make a virtual environment for %s; --venv DIR names one" % python)


def _run(command, hint):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode != 0:
        raise CannotMeasure("%s\n%s" % (done.stdout.strip(), hint))
