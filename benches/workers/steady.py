"""Steady speed of code that comes from an image: programs of pyperformance and loops over the standard library, timed by pyperf in fresh
processes, contenders in turn."""
import json
import pathlib
import shutil
import subprocess
import tempfile

import attempts
import packages
import processes
from activation import Activation, Unavailable

REQUIREMENTS = ["pyperformance==1.14.0", "pyperf==2.10.0"]

# Name, module and its arguments: those of pyperformance that need nothing but the standard library. The upper half spends its time in
# modules of it that are written in Python, the lower half in its own.
PYPERFORMANCE = [
    ("argparse", "bm_argparse", ["many_optionals"]),
    ("async_tree", "bm_async_tree", ["none"]),
    ("base64_small", "bm_base64", []),
    ("deepcopy", "bm_deepcopy", []),
    ("logging_format", "bm_logging", ["format"]),
    ("pathlib", "bm_pathlib", []),
    ("pickle_pure_python", "bm_pickle", ["--pure-python", "pickle"]),
    ("regex_compile", "bm_regex_compile", []),
    ("typing_runtime_protocols", "bm_typing_runtime_protocols", []),
    ("unpickle_pure_python", "bm_pickle", ["--pure-python", "unpickle"]),
    ("chaos", "bm_chaos", []),
    ("comprehensions", "bm_comprehensions", []),
    ("coroutines", "bm_coroutines", []),
    ("deltablue", "bm_deltablue", []),
    ("generators", "bm_generators", []),
    ("hexiom", "bm_hexiom", []),
    ("raytrace", "bm_raytrace", []),
    ("richards", "bm_richards", []),
]
# Our own, of workloads/steady.
LOOPS = ["ast", "asyncio", "dataclasses", "decimal", "difflib", "json", "statistics", "tomllib"]
PROGRAMS = PYPERFORMANCE + [("loop_" + name, "stdlib_loops", [name]) for name in LOOPS]
SMOKE = ("deepcopy", "loop_json")

# There are no images for older ones, and not all of these modules.
FROM = (3, 12)
# Of one process: values that count and values before them, and about how long each takes, in seconds.
VALUES, WARMUPS, LONG = 3, 1, 0.1


def measure(environment, contenders, pye, rounds, small, unavailable, failed, note):
    """For each program {contender: seconds of one pass in each round}."""
    note("steady: preparing the programs")
    if tuple(environment.about["version"]) < FROM:
        unavailable["steady"] = "there are images from CPython %d.%d on" % FROM
        return {}
    try:
        library, programs = _programs(environment)
    except Unavailable as reason:
        unavailable["steady"] = str(reason)
        return {}
    activations = {}
    for one in contenders:
        note("steady: preparing %s" % one.name)
        with attempts.attempt(failed, "steady, preparing: " + one.name):
            try:
                activations[one.name] = _activate(environment, library, programs, one.way, pye)
            except Unavailable as reason:
                unavailable["steady: " + one.name] = str(reason)
    able = [one for one in contenders if one.name in activations]
    found = {}
    for name, module, arguments in PROGRAMS:
        if not able or small and name not in SMOKE:
            continue
        note("steady: %s" % name)
        with attempts.attempt(failed, "steady: " + name):
            loops = 1 if small else _calibrate(environment, activations[able[0].name], module, arguments)
            more = [*arguments, "--loops=%d" % loops, "--values=%d" % VALUES, "--warmups=%d" % WARMUPS]

            def seconds(run, one):
                note("steady: %s, round %d of %d: %s" % (name, run + 1, rounds, one.name))
                return _seconds(environment, activations[one.name], run, module, more)

            found[name] = attempts.in_turn(able, rounds, failed, "steady: " + name, seconds)
    return found


def _programs(environment):
    """The directories of pyperf and, side by side so that they can be linked, of the programs."""
    library, programs = environment.work / "pyperf", environment.work / "steady"
    if not (library / "pyperformance").exists():
        done = subprocess.run(
            [str(environment.python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps",
             "--target", str(library), *REQUIREMENTS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode != 0:
            raise Unavailable("pip cannot install pyperformance: " + (done.stdout.strip().splitlines() or ["?"])[-1])
    programs.mkdir(exist_ok=True)
    for module in sorted({module for _, module, _ in PYPERFORMANCE}):
        for path in (library / "pyperformance" / "data-files" / "benchmarks" / module).glob("*.py"):
            name = module if path.stem == "run_benchmark" else path.stem
            shutil.copy2(str(path), str(programs / (name + ".py")))
    shutil.copy2(str(environment.workloads / "steady" / "stdlib_loops.py"), str(programs))
    subprocess.run([str(environment.python), "-m", "compileall", "-qq", str(programs), str(library)], check=True, env=environment.base())
    return library, programs


def _activate(environment, library, programs, way, pye):
    if way == "stock":
        return Activation(variables={"PYTHONPATH": "%s:%s" % (programs, library)})
    pairs = [(root, environment.work / ("steady-%s-%s.pye" % (name, way)))
             for name, root in (("programs", programs), ("stdlib", environment.about["stdlib"]))]
    for root, package in pairs:
        if way == "pye":
            packages.link(pye, root, package)
        else:
            packages.link_image(pye, root, package, environment)
    activation = packages.activation(environment, pye, pairs, image=way == "pye-image", search=[programs, library])
    if way == "pye-image":
        packages.require_image(environment, activation, "import bm_richards, difflib")
    return activation


def _calibrate(environment, activation, module, arguments):
    """How many loops take about LONG."""
    run = _run(environment, activation, 0, module, [*arguments, "--calibrate-loops", "--min-time=%g" % LONG])
    return run["metadata"]["calibrate_loops"]


def _seconds(environment, activation, seed, module, arguments):
    values = sorted(_run(environment, activation, seed, module, arguments)["benchmarks"][0]["runs"][0]["values"])
    return values[len(values) // 2]


def _run(environment, activation, seed, module, arguments):
    """What pyperf writes of its first task in one process. Strings are hashed with the same seed for all contenders of a round: which
    one decides more of the time than what is compared here."""
    with tempfile.TemporaryDirectory(dir=environment.scratch) as scratch:
        path = pathlib.Path(scratch, "found.json")
        command = activation.command(environment, "-m", module, *arguments, "--worker", "--worker-task=0", "--output", path)
        done = subprocess.run(command, env=activation.environment(environment, PYTHONHASHSEED=str(seed)), cwd=scratch,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode != 0:
            raise processes.Ended("%s\n%s" % (" ".join(command), done.stdout.strip()))
        return json.loads(path.read_text())
