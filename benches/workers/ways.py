"""How the modules of each contender come to be loaded: what it takes, made before anything is measured."""
import json
import os
import pathlib
import subprocess
import zipfile
from dataclasses import dataclass, field

import timing


class Unavailable(Exception):
    """Why a contender cannot take part."""


@dataclass
class Activation:
    """`[*prefix, python, *flags, …]`, with `variables` added to the environment."""

    prefix: list = field(default_factory=list)
    flags: list = field(default_factory=list)
    variables: dict = field(default_factory=dict)

    def command(self, environment, *arguments):
        """The command that runs Python with these arguments."""
        return [str(part) for part in (*self.prefix, environment.python, *self.flags, *arguments)]

    def environment(self, environment, **more):
        """All its environment variables."""
        return {**environment.base(), **self.variables, **more}


def warm(environment, workload, activation):
    """Has one worker do everything once, and one process the timed imports: then every .pyc that measuring reads is written, and
    in the page cache with the rest."""
    writing = Activation(activation.prefix, activation.flags, {**activation.variables, "PYTHONDONTWRITEBYTECODE": ""})
    with workload.session(environment, writing, "spawn", 1, freeze=False, before_exec=None) as session:
        session.work()
    timing.imports(environment, workload, writing)


def stock(environment, workload, pye):
    """As the interpreter comes."""
    return Activation()


def oo(environment, workload, pye):
    """`python -OO`, its .pyc files in a directory of their own: the measured trees stay as they are."""
    return Activation(flags=["-OO"], variables={"PYTHONPYCACHEPREFIX": str(environment.work / "oo")})


def zip(environment, workload, pye):
    """All compiled modules of site-packages in one zip, not compressed (the fastest form for zipimport).

    What cannot be in a zip, extension modules and files that modules read beside themselves, stays where it is: a small
    sitecustomize gives modules their usual names of files and takes their code from zipimport.
    """
    archive = environment.work / "modules.zip"
    site = pathlib.Path(environment.about["site"])
    tag = ".%s.pyc" % environment.about["cache_tag"]
    part = archive.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(site.rglob("__pycache__/*" + tag)):
            name = path.relative_to(site)
            target.write(path, str(name.parent.parent / name.name.replace(tag, ".pyc")))
    part.replace(archive)
    return Activation(variables={"PYTHONPATH": str(environment.sites / "zip"), "BENCH_ZIP": str(archive), "BENCH_ZIP_ROOT": str(site)})


def pycds(environment, workload, pye):
    """The code-data-share package with an image of the modules that one worker of the workload loads."""
    if tuple(environment.about["version"]) >= (3, 13):
        raise Unavailable("code-data-share is for CPython 3.12 and older")
    package = environment.work / "pycds"
    if not (package / "cds").exists():
        done = subprocess.run(
            [str(environment.python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
             "--target", str(package), "code-data-share==0.1.0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode != 0:
            raise Unavailable("pip cannot install code-data-share: " + (done.stdout.strip().splitlines() or ["?"])[-1])
    # Its .pth does the same; a directory given by PYTHONPATH has no .pth.
    paths = {"PYTHONPATH": "%s:%s" % (environment.sites / "pycds", package)}
    names, image = package / (workload.name + ".list"), package / (workload.name + ".image")
    names.unlink() if names.exists() else None
    tracing = Activation(variables={**paths, "PYCDSMODE": "TRACE", "PYCDSLIST": str(names)})
    with workload.session(environment, tracing, "spawn", 1, freeze=False, before_exec=None) as session:
        session.work()
    dumped = subprocess.run(
        [str(environment.python), "-c", "import cds.dump, sys; cds.dump.run_dump(*sys.argv[1:])", str(names), str(image)],
        env={**environment.base(), **paths, "PYTHONPATH": "%s:%s" % (package, workload.directory(environment)),
             **workload.variables},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if dumped.returncode != 0:
        raise Unavailable("code-data-share cannot make its image: " + (dumped.stdout.strip().splitlines() or ["?"])[-1])
    return Activation(variables={**paths, "PYCDSMODE": "SHARE", "PYCDSARCHIVE": str(image)})


# Shortest text and byte string to cut out: what `pye run` takes when it links by itself, and `pye estimate` assumes.
THRESHOLDS = ["--min-blob", "32", "--min-bytes", "4096"]


def pye(environment, workload, pye):
    """`pye run` with packages of site-packages and the standard library.

    Where what it does is but to set the environment (so that children inherit it), that environment is used as it is, and no
    process is started by way of it.
    """
    if pye is None:
        raise Unavailable("no pye: python/stage makes it, --pye FILE names one")
    prefix = [*pye, "run"]
    for name in ("site", "stdlib"):
        package = environment.work / (name + ".pye")
        done = subprocess.run([*pye, "link", *THRESHOLDS, environment.about[name], "--output", str(package)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode != 0:
            raise Unavailable("pye link %s: %s" % (environment.about[name], (done.stdout.strip().splitlines() or ["?"])[-1]))
        prefix += ["--package", "%s=%s" % (environment.about[name], package)]
    prefix.append("--")
    base = environment.base()
    asked = subprocess.run([*prefix, str(environment.python), "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
                           env=base, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if asked.returncode != 0:
        raise Unavailable("pye run: " + asked.stderr.strip().replace("\n", " "))
    seen = json.loads(asked.stdout)
    variables = {name: value for name, value in seen.items() if base.get(name) != value}
    boot = variables.get("PYTHONPATH", "").partition(":")[0]
    if "PYE_PACKAGES" in variables and os.path.isdir(boot):
        return Activation(variables=variables)
    return Activation(prefix=prefix)


WAYS = {"stock": stock, "oo": oo, "zip": zip, "pycds": pycds, "pye": pye}
