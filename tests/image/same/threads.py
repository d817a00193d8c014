"""Threads that import the same modules at once, in different orders, and run their functions."""

import importlib
import sys
import threading

import imaged
from show import show

NAMES = ["imaged." + name for name in imaged.QUIET]
NAMES += ["email.message", "json.decoder", "dataclasses", "statistics", "fractions", "decimal", "csv", "configparser", "html.parser", "difflib", "textwrap"]
sys.setswitchinterval(1e-5)
start = threading.Barrier(8)
errors, results = [], []


def work(number):
    try:
        start.wait()
        for name in NAMES[number:] + NAMES[:number]:
            # Modules that import each other can meet half-way, in any case: then Python gives up waiting.
            for _ in range(100):
                try:
                    importlib.import_module(name)
                    break
                except (AttributeError, ImportError) as error:
                    if "partially initialized" not in str(error):
                        raise
        from imaged import classes, constants, functions, hot, names

        results.append((hot.arithmetic(200), hot.calls(200), hot.attributes(100), functions.comprehended(5), constants.in_mixed("x"),
                        names.as_keys(), classes.Item("x").total(2), names.grows(10), hot.methods(100)))
    except BaseException as error:
        errors.append(error)


workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
show(errors, len(results), all(result == results[0] for result in results), results[0])
show(sorted(name for name in sys.modules if name.startswith("imaged")))
