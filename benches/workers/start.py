"""What large packages cost a small program, as `pye` lays packages out and from one of a hundred megabytes alone: ten programs that import three
standard modules each, against stock from the same places."""
import json
import pathlib
import shutil
import subprocess

import attempts
import packages
import timing
import ways
from activation import Activation, Unavailable

# The modules of each program: pure Python, and loaded by no interpreter that starts.
PROGRAMS = [
    "argparse glob shlex", "base64 hmac quopri", "bisect heapq statistics", "calendar colorsys string", "configparser copy tempfile",
    "contextlib queue sched", "csv fractions textwrap", "dataclasses graphlib json", "difflib fnmatch pprint", "html.parser plistlib timeit",
]
# Never imported here, and much of the standard library's source.
LEFT_OUT_WHEN_SMALL = ("test", "tests", "idlelib", "lib2to3", "pydoc_data", "turtledemo")


def measure(environment, contenders, pye, rounds, small, unavailable, failed, note):
    """For each layout {"layout": which, "pyc": bytes of all modules, "packages": bytes of the packages of each contender, "programs": for each
    program {contender: seconds of each round, from before the start of the process to its end}}. `small` leaves all of it small."""
    for number, modules in enumerate(PROGRAMS):
        _script(environment, number).write_text("".join("import %s\n" % name for name in modules.split()))
    note("start: copying and compiling the standard library")
    tree = _tree(environment, small)
    layouts = [("one package, of a copy of the standard library", {"tree": tree}, [tree])]
    if not small:
        installed = {name: environment.about[name] for name in ways.ROOTS}
        layouts.append(("the packages of the standard library and of site-packages", installed, []))
    return [_layout(*layout, environment, contenders, pye, rounds, unavailable, failed, note) for layout in layouts]


def _layout(name, roots, search, environment, contenders, pye, rounds, unavailable, failed, note):
    """One of them: a package for each of `roots`, directories by name, and the directories `search` on PYTHONPATH."""
    activations, sizes = {}, {}
    for one in contenders:
        note("start, %s: preparing %s" % (name, one.name))
        with attempts.attempt(failed, "start, preparing: %s, %s" % (name, one.name)):
            try:
                activations[one.name], sizes[one.name] = _activate(environment, roots, search, one.way, pye)
            except Unavailable as reason:
                unavailable["start, %s: %s" % (name, one.name)] = str(reason)
    able = [one for one in contenders if one.name in activations]
    tag = environment.about["cache_tag"]
    programs = {}
    for number, modules in enumerate(PROGRAMS):
        commands = {one.name: activations[one.name].command(environment, _script(environment, number)) for one in able}
        variables = {one.name: activations[one.name].environment(environment) for one in able}

        def lasts(run, one):
            note("start, %s: program %d of %d, round %d of %d: %s" % (name, number + 1, len(PROGRAMS), run, rounds, one.name))
            return timing.lasts(commands[one.name], variables[one.name])

        # The first round is for what is read only once.
        times = attempts.in_turn(able, rounds + 1, failed, "start: " + modules, lasts)
        programs[modules] = {name: values[1:] for name, values in times.items()}
    return {
        "layout": name,
        # Below the standard library lies site-packages.
        "pyc": sum(path.stat().st_size for path in {path for root in roots.values() for path in pathlib.Path(root).rglob("__pycache__/*.%s.pyc" % tag)}),
        "packages": {one.name: sizes[one.name] for one in able if sizes[one.name]},
        "programs": programs,
    }


def _script(environment, number):
    return environment.work / ("start-%d.py" % number)


def _activate(environment, roots, search, way, pye):
    """How a contender comes to import from `roots`, and how many bytes its packages have."""
    files = []
    if way == "stock":
        activation = Activation(variables={"PYTHONPATH": ":".join(map(str, search))} if search else {})
    else:
        image = way == "pye-image"
        for name, root in roots.items():
            files.append(environment.work / ("start-%s%s.pye" % (name, "-image" if image else "")))
            if image:
                packages.link_image(pye, root, files[-1], environment)
            else:
                packages.link(pye, root, files[-1])
        activation = packages.activation(environment, pye, list(zip(roots.values(), files)), image=image, search=search)
        if image:
            packages.require_image(environment, activation, "import argparse")
    # This writes the .pyc files of pye itself, too, which pip writes where it is installed, and those of the standard library that are missing: else each start compiles.
    variables = activation.environment(environment, PYTHONDONTWRITEBYTECODE="")
    for modules in PROGRAMS:
        script = "import %s as last; print(last.__file__)" % ", ".join(modules.split())
        asked = subprocess.run(activation.command(environment, "-c", script), env=variables, check=True, stdout=subprocess.PIPE, universal_newlines=True)
        if not any(asked.stdout.startswith("%s/" % root) for root in roots.values()):
            raise RuntimeError("%s comes from %s, expected from %s" % (modules, asked.stdout.strip(), " or ".join(map(str, roots.values()))))
    return activation, sum(path.stat().st_size for path in files)


def _tree(environment, small):
    """A directory with the sources of the standard library, its tests included, compiled there (a .pyc that says another place costs stock time); made once."""
    tree = environment.work / ("start-small" if small else "start")
    record = tree.with_suffix(".json")
    content = {"python": environment.about["executable"], "version": environment.about["version"]}
    if record.exists() and json.loads(record.read_text()) == content:
        return tree
    shutil.rmtree(str(tree), ignore_errors=True)
    _copy_sources(pathlib.Path(environment.about["stdlib"]), tree, LEFT_OUT_WHEN_SMALL if small else ())
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
