"""How the modules of each contender come to be loaded: what it takes, made before anything is measured."""
import pathlib
import subprocess
import zipfile

import packages
import timing
import tracing
from activation import Activation, Unavailable


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


# Those of the interpreter that are linked, as `about` names them.
ROOTS = ("site", "stdlib")


def pye(environment, workload, pye):
    """`pye run` with packages of site-packages and the standard library, without image."""
    pairs = [(environment.about[name], environment.work / (name + ".pye")) for name in ROOTS]
    for root, package in pairs:
        packages.link(pye, root, package)
    return packages.activation(environment, pye, pairs, image=False)


def pye_image(environment, workload, pye):
    """The same with images, laid out by what one worker of the workload does."""
    packages.needs(pye, ["link"], "--image")
    return _image(environment, workload, pye, workload.name, tracing.profile(environment, workload, pye))


def pye_image_unprofiled(environment, workload, pye):
    """The same without a profile of use, as `pye install` makes them the first time."""
    packages.needs(pye, ["link"], "--image")
    return _image(environment, workload, pye, "unprofiled", None)


def _image(environment, workload, pye, files, profile):
    """`pye run` with packages that have images: their files, and what they are laid out by."""
    pairs = [(environment.about[name], environment.work / ("%s-%s.pye" % (files, name))) for name in ROOTS]
    for root, package in pairs:
        packages.link_image(pye, root, package, environment, profile)
    activation = packages.activation(environment, pye, pairs, image=True)
    imports = "sys.path.insert(0, %r); import imports" % str(workload.directory(environment))
    packages.require_image(environment, activation, imports)
    return activation


WAYS = {"stock": stock, "oo": oo, "zip": zip, "pycds": pycds, "pye": pye, "pye-image": pye_image, "pye-image-unprofiled": pye_image_unprofiled}
