"""The standard library from a package: imported, reloaded, used in children of forks and in threads, asked for what is not there, and
left to the end of the interpreter. Prints what any interpreter would.
"""
import gc
import importlib
import os
import sys
import threading

NAMES = """argparse ast asyncio base64 bdb calendar cmd code codecs collections.abc colorsys concurrent.futures configparser contextlib copy
csv dataclasses datetime decimal difflib dis email.message email.mime.text enum filecmp fractions functools getopt gettext glob gzip hashlib
heapq html.parser http.client http.cookies importlib.metadata inspect io ipaddress json keyword linecache locale logging.handlers mailbox
mimetypes numbers operator optparse pathlib pdb pickle pickletools platform plistlib pprint profile pydoc queue quopri random re sched
selectors shelve shlex shutil signal socketserver statistics string subprocess symtable sysconfig tarfile tempfile textwrap timeit token
tokenize trace traceback typing unittest.mock urllib.parse urllib.request uuid warnings wave weakref xml.dom.minidom xml.etree.ElementTree
xmlrpc.client zipfile""".split()


def use():
    """What the modules say when they are used."""
    import dataclasses
    import decimal
    import json
    import statistics
    import textwrap

    point = dataclasses.make_dataclass("Point", ["x", "y"])(1, 2)
    return [
        json.loads(json.dumps({"a": [1, 2.5, None, "text"]})),
        str(decimal.Decimal(1) / 3),
        repr(point),
        statistics.median([3, 1, 2]),
        textwrap.fill("long text " * 20, 40).count("\n"),
        len(json.JSONDecoder.__doc__),
    ]


def in_child(work):
    """Runs it in a child that ends as a program does, with all that an ending does."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print("a child ended with", status, flush=True)


def missing():
    for name in ("nothing", "json.nothing", "email.mime.nothing"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(error)


def main(share):
    names = NAMES[:: int(share)]
    half = len(names) // 2
    for name in names[:half]:
        importlib.import_module(name)
    in_child(lambda: [importlib.import_module(name) for name in names[half:]])
    print(*use())
    threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names[half:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("json.decoder", "textwrap", "statistics"):
        module = importlib.reload(importlib.import_module(name))
        print(module.__name__, module.__doc__ is not None and len(module.__doc__))
    print(*use())
    missing()
    for name in names[1::3]:
        sys.modules.pop(name)
    gc.collect()
    in_child(lambda: print(*use(), flush=True))
    print(sum(importlib.import_module(name) is not None for name in names) == len(names))


main(sys.argv[1])
