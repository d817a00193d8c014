"""All that was asked for, measured."""
import contextlib
import os
import pathlib
import tempfile

import attempts
import cache
import comparison
import containers
import environment
import forecasting
import ksm
import machine
import measuring
import options
import program
import report
import serving
import sessions
import start
import steady
import timing
import ways
from activation import Unavailable
from progress import note


@contextlib.contextmanager
def surroundings(chosen):
    """The Environment that was asked for, made where it is not there."""
    out = chosen.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if chosen.venv:
        python = environment.given(chosen.venv)
    else:
        python = environment.made(chosen.python or environment.usual(), out, chosen.workloads)
    about = environment.describe(python)
    work = out / ("%s-%s" % (".".join(map(str, about["version"])), python.parent.parent.name))
    work.mkdir(exist_ok=True)
    memory_directory = "/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory_directory, prefix="workers-") as scratch:
        yield environment.Environment(python, work, scratch)


def measure(chosen):
    """All that was asked for, as the value that --json writes."""
    with surroundings(chosen) as measured:
        about = measured.about
        results = {"memory": [], "forecast": [], "time": [], "nothing": [], "requests": [], "unavailable": {}, "failed": {}}
        for name in chosen.workloads if set(options.OF_WORKLOADS) & set(chosen.parts) else ():
            if measured.lacks(name):
                raise environment.CannotMeasure("%s lacks %s" % (measured.python.parent.parent, ", ".join(measured.lacks(name))))
            measure_workload(measured, sessions.WORKLOADS[name], chosen, results)
        measure_python(measured, chosen, results)
    results["interpreter"] = {"version": about["version"], "fixed": about["fixed"]}
    results["about"] = {
        **machine.heading(options.CHECKOUT),
        "interpreter": "CPython %s, %s%s%s%s" % (".".join(map(str, about["version"])), about["compiler"],
                                              ", shared library" if about["shared"] else "", ", at fixed addresses" if about["fixed"] else "", ", debug" if about["debug"] else ""),
        "packages": ", ".join("%s %s" % (r.partition("==")[0], measured.versions[r.partition("==")[0].lower()])
                              for name in chosen.workloads for r in environment.REQUIREMENTS[name]
                              if r.partition("==")[0].lower() in measured.versions),
    }
    return results


def measure_workload(measured, workload, chosen, results):
    """One workload: memory, times, requests."""
    workload.prepare(measured)
    pye = program.find(chosen.pye, options.CHECKOUT)
    activations = activate(measured, workload, chosen.contenders, pye, results)
    able = [one for one in chosen.contenders if one.name in activations]
    failed = results["failed"]
    if "memory" in chosen.parts:
        for workers in chosen.workers:
            for mode in chosen.modes:
                if mode == "container" and containers.unavailable(measured):
                    results["unavailable"]["mode container"] = containers.unavailable(measured)
                    continue
                results["memory"] += measure_memory(measured, workload, able, activations, mode, workers, chosen.rounds, pye, failed)
    if "forecast" in chosen.parts and pye is not None:
        note("%s: forecast" % workload.name)
        with attempts.attempt(failed, workload.name + ": forecast"):
            results["forecast"].append({"workload": workload.name, "each_worker_saves": forecasting.forecast(measured, workload, pye)})
    if "time" in chosen.parts:
        measure_time(measured, workload, able, activations, chosen.runs, results)
    if "requests" in chosen.parts and workload.name == "django":
        for workers in chosen.workers:
            found = serving.rates(measured, workload, able, activations, workers, chosen.runs, failed, lambda run, one: note(
                "django: requests to %d workers, round %d of %d: %s" % (workers, run + 1, chosen.runs, one.name)))
            found = [{"workers": workers, "contender": one.name, "mode": one.modes[0], "runs": found[one.name]}
                     for one in able if one.name in found]
            comparison.settle(found, "runs", report.BASE)
            results["requests"] += found
    note("")


def measure_memory(measured, workload, able, activations, mode, workers, rounds, pye, failed):
    """All contenders that are for the mode, through all stages."""
    what = "%s, memory, %s, %d workers" % (workload.name, mode, workers)

    def through_stages(_, one):
        note("%s: %s" % (what, one.name))
        return measuring.through_stages(measured, workload, one, activations[one.name], mode, workers, pye)

    found = attempts.in_turn([one for one in able if mode in one.modes], rounds, failed, what, through_stages)
    found = [{"workload": workload.name, "mode": mode, "workers": workers, "contender": name, "rounds": each} for name, each in found.items()]
    comparison.settle(found, "rounds", report.BASE)
    return found


def measure_time(measured, workload, able, activations, runs, results):
    """Imports, system calls, and once `python -c pass`."""
    # Neither KSM nor gc.freeze() has a part in importing.
    those = [one for one in able if not one.ksm and not one.freeze]
    what = workload.name + ", imports"

    def imports(number, one):
        note("%s, run %d of %d: %s" % (what, number + 1, runs, one.name))
        return timing.imports(measured, workload, activations[one.name])

    for name, found in attempts.in_turn(those, runs, results["failed"], what, imports).items():
        note("%s, system calls: %s" % (workload.name, name))
        results["time"].append({"workload": workload.name, "contender": name, "runs": found,
                                "system_calls": timing.system_calls(measured, workload, activations[name])})
    if not results["nothing"]:
        found = attempts.in_turn(those, 2 * runs, results["failed"], "python -c pass",
                                 lambda _, one: timing.nothing(measured, activations[one.name]))
        results["nothing"] = [{"contender": name, "runs": values} for name, values in found.items()]


def measure_python(measured, chosen, results):
    """What is no workload's: small programs, steady speed, caches."""
    pye = program.find(chosen.pye, options.CHECKOUT)
    # Of each way one contender, without what changes memory only.
    those = [one for one in chosen.contenders if one.way in ("stock", "pye", "pye-image") and not one.freeze and not one.ksm]
    given = {"small": chosen.smoke, "unavailable": results["unavailable"], "failed": results["failed"], "note": note}
    if "start" in chosen.parts:
        # A process takes hundredths of a second: more rounds cost little.
        results["start"] = start.measure(measured, those, pye, chosen.runs * (1 if chosen.smoke else 3), **given)
    if "steady" in chosen.parts:
        results["steady"] = steady.measure(measured, those, pye, chosen.runs, **given)
    if "cache" in chosen.parts:
        results["cache"] = cache.measure(measured, options.CHECKOUT, min(chosen.runs, 3), **given)
    note("")


def activate(measured, workload, contenders, pye, results):
    """The activation of each contender that can take part, by name; the others' reasons go to `results`."""
    activations, made = {}, {}
    for one in contenders:
        if one.ksm and ksm.unavailable():
            results["unavailable"][one.name] = ksm.unavailable()
            continue
        if one.way not in made:
            note("%s: preparing %s" % (workload.name, one.way))
            made[one.way] = prepared(measured, workload, one.way, pye)
        found = made[one.way]
        if isinstance(found, Unavailable):
            results["unavailable"]["%s: %s" % (workload.name, one.name)] = str(found)
        elif isinstance(found, Exception):
            results["failed"]["%s, preparing: %s" % (workload.name, one.name)] = "%s: %s" % (type(found).__name__, found)
        else:
            activations[one.name] = found
    # A page of a file that is not yet on the disk counts as Private_Dirty.
    os.sync()
    return activations


def prepared(measured, workload, way, pye):
    """The activation by this way, used once; or the exception that says why there is none."""
    try:
        activation = ways.WAYS[way](measured, workload, pye)
        ways.warm(measured, workload, activation)
    except Exception as error:
        return error
    return activation
