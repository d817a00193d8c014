"""What a large package costs a small program: ten programs that import three standard modules each, from one tree that also holds
site-packages, against stock from the same tree."""
import json
import pathlib
import shutil
import subprocess

import attempts
import packages
import timing
from activation import Activation, Unavailable

# The modules of each program: pure Python, and loaded by no interpreter that starts.
PROGRAMS = [
    "argparse glob shlex", "base64 hmac quopri", "bisect heapq statistics", "calendar colorsys string", "configparser copy tempfile",
    "contextlib queue sched", "csv fractions textwrap", "dataclasses graphlib json", "difflib fnmatch pprint", "html.parser plistlib timeit",
]
# Never imported here, and much of the standard library's source.
LEFT_OUT_WHEN_SMALL = ("test", "tests", "idlelib", "lib2to3", "pydoc_data", "turtledemo")


def measure(environment, contenders, pye, rounds, small, unavailable, failed, note):
    """{"pyc": bytes of all modules, "packages": bytes of the package of each contender, "programs": for each program {contender: seconds
    of each round, from before the start of the process to its end}}. `small` leaves site-packages out."""
    note("start: copying and compiling the tree")
    tree = _tree(environment, small)
    package = {"pye": environment.work / "start.pye", "pye-image": environment.work / "start-image.pye"}
    activations = {}
    for one in contenders:
        note("start: preparing %s" % one.name)
        with attempts.attempt(failed, "start, preparing: " + one.name):
            try:
                activations[one.name] = _activate(environment, tree, one.way, pye, package.get(one.way))
            except Unavailable as reason:
                unavailable["start: " + one.name] = str(reason)
    able = [one for one in contenders if one.name in activations]
    found = {
        "pyc": sum(path.stat().st_size for path in tree.rglob("__pycache__/*.%s.pyc" % environment.about["cache_tag"])),
        "packages": {one.name: package[one.way].stat().st_size for one in able if one.way in package},
        "programs": {},
    }
    for number, modules in enumerate(PROGRAMS):
        script = environment.work / ("start-%d.py" % number)
        script.write_text("".join("import %s\n" % name for name in modules.split()))
        commands = {one.name: activations[one.name].command(environment, script) for one in able}
        variables = {one.name: activations[one.name].environment(environment) for one in able}

        def lasts(run, one):
            note("start: program %d of %d, round %d of %d: %s" % (number + 1, len(PROGRAMS), run, rounds, one.name))
            return timing.lasts(commands[one.name], variables[one.name])

        # The first round is for what is read only once.
        times = attempts.in_turn(able, rounds + 1, failed, "start: " + modules, lasts)
        found["programs"][modules] = {name: values[1:] for name, values in times.items()}
    return found


def _activate(environment, tree, way, pye, package):
    if way == "stock":
        activation = Activation(variables={"PYTHONPATH": str(tree)})
    elif way == "pye":
        packages.link(pye, tree, package)
        activation = packages.activation(environment, pye, [(tree, package)], image=False, search=[tree])
    else:
        packages.link_image(pye, tree, package, environment)
        activation = packages.activation(environment, pye, [(tree, package)], image=True, search=[tree])
        packages.require_image(environment, activation, "import argparse")
    # It also writes the .pyc files of pye itself, which pip writes where it is installed: else each start compiles its sources.
    variables = activation.environment(environment, PYTHONDONTWRITEBYTECODE="")
    script = "import argparse; print(argparse.__file__)"
    asked = subprocess.run(activation.command(environment, "-c", script), env=variables, check=True, stdout=subprocess.PIPE,
                           universal_newlines=True)
    if pathlib.Path(asked.stdout.strip()).parent != tree:
        raise RuntimeError("argparse comes from %s, expected from %s" % (asked.stdout.strip(), tree))
    return activation


def _tree(environment, small):
    """One directory with the sources of the standard library and of site-packages, compiled there (a .pyc that says another place costs
    stock time); made once for the same packages."""
    tree = environment.work / ("start-small" if small else "start")
    record = tree.with_suffix(".json")
    content = {"python": environment.about["executable"], "version": environment.about["version"], "packages": environment.versions}
    if record.exists() and json.loads(record.read_text()) == content:
        return tree
    shutil.rmtree(str(tree), ignore_errors=True)
    # The standard library last: it must not be hidden.
    for root in ([] if small else ["site"]) + ["stdlib"]:
        _copy_sources(pathlib.Path(environment.about[root]), tree, LEFT_OUT_WHEN_SMALL if small else ())
    # Some sources are for other versions, or wrong on purpose.
    subprocess.run([str(environment.python), "-m", "compileall", "-qq", "-j0", str(tree)], env=environment.base(),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record.write_text(json.dumps(content))
    return tree


def _copy_sources(root, tree, left_out):
    names = {"site-packages", "dist-packages", "__pycache__", *left_out}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        # What sitecustomize does here is no part of the programs.
        if names.isdisjoint(relative.parts) and relative.name not in ("sitecustomize.py", "usercustomize.py"):
            to = tree / relative
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(path), str(to))
