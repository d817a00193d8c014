"""Threads, forks, other programs, other processes and other interpreters, with modules from packages.

    together.py DIRECTORY    as made by project.py, on sys.path
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
import threading

NAMES = ["app", "app.mod", "app.fails", "app.sub", "app.sub.leaf", "app.lazy", "single", "both", "plain", "twice", "space.one",
         "space.two", "partly", "native", "native2", "app.cyclic_a", "json.decoder", "email.message"]


def forget():
    for name in list(sys.modules):
        if name.split(".")[0] in ("app", "single", "both", "plain", "twice", "space", "partly", "native", "native2", "email"):
            del sys.modules[name]


def check():
    import app.mod
    import single

    assert app.mod.greet("x").startswith("Hello, x"), app.mod.greet("x")
    assert single.WHO == "lib" and "\u20ac" in app.mod.WIDE and app.mod.TEXT.endswith("mod.py.")


def served():
    """Whether the module came from a package."""
    import app.mod

    return type(app.mod.__loader__).__module__ == "pye._finder"


def threads():
    """All the same modules at once, and each other ones."""
    for turn in range(10):
        forget()
        errors = []
        start = threading.Barrier(8)

        def work(number):
            try:
                start.wait()
                for name in NAMES[number:] + NAMES[:number] if turn % 2 else NAMES:
                    # Those that import each other can meet half-way; that is so without pye, too.
                    if not name.startswith("app.cyclic") or turn % 2 == 0:
                        importlib.import_module(name)
                check()
            except BaseException as error:
                errors.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not errors, errors
        assert len({id(sys.modules["app.mod"])}) == 1


def wait_for(child):
    _, status = os.waitpid(child, 0)
    assert status == 0, status


def child_of_fork():
    """What a child does: imports what the parent had, and what it had not, then ends as an interpreter does."""
    code = 1
    try:
        check()
        forget()
        for name in NAMES:
            importlib.import_module(name)
        check()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def forks():
    """From the main thread, from a thread while others import, and from the body of a module that is being imported."""
    forget()
    import app.mod

    child = os.fork()
    if child == 0:
        child_of_fork()
    wait_for(child)

    stop = threading.Event()
    errors = []

    def importing():
        try:
            while not stop.is_set():
                for name in ("single", "both", "plain", "twice", "native2"):
                    sys.modules.pop(name, None)
                    try:
                        importlib.import_module(name)
                    except KeyError:
                        # Another thread took it out.
                        pass
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=importing) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(20):
        # A lock that an importing thread holds must not stay taken in the child: its look-ups would wait for ever.
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for name in ("app.fails", "app.sub.leaf", "email.message"):
                    importlib.import_module(name)
                code = 0
            finally:
                os._exit(code)
        wait_for(child)
    stop.set()
    for worker in workers:
        worker.join()
    assert not errors, errors

    with open(os.path.join(directory, "cwd", "forking.py"), "w") as file:
        file.write("import os, app.mod\nCHILD = os.fork()\nimport app.fails, app.sub.leaf\nassert app.fails.__doc__\n")
    importlib.invalidate_caches()
    forget()
    import forking

    if forking.CHILD == 0:
        child_of_fork()
    wait_for(forking.CHILD)


def task(number):
    check()
    return number, served(), type(importlib.import_module("app.sub.leaf").__loader__).__module__


def processes():
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            results = pool.map(task, range(4))
        assert results == [(number, True, "pye._finder") for number in range(4)], (method, results)
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(task, range(4)))[3][1]


def programs():
    text = "import app.mod, sys; sys.exit(0 if type(app.mod.__loader__).__module__ == 'pye._finder' else 3)"
    assert subprocess.run([sys.executable, "-c", text]).returncode == 0
    child = os.fork()
    if child == 0:
        # In the middle of an import.
        with open(os.path.join(directory, "cwd", "becoming.py"), "w") as file:
            file.write("import os, sys, app.mod\nos.execv(sys.executable, [sys.executable, '-c', %r])\n" % text)
        importlib.invalidate_caches()
        import becoming  # noqa: F401
    wait_for(child)


def interpreters():
    """Sub-interpreters import everything as usual, while the main one goes on."""
    try:
        import _interpreters
    except ImportError:
        import _xxsubinterpreters as _interpreters
    code = """if True:
        import sys
        import app.mod, app.sub.leaf, single, space.one, json
        assert app.mod.greet("sub").startswith("Hello, sub")
        assert type(app.mod.__loader__).__module__ != "pye._finder", app.mod.__loader__
        assert sys.intern(app.mod.TEXT) == app.mod.TEXT
    """
    for turn in range(3):
        forget()
        interpreter = _interpreters.create()
        # Up to 3.12 what fails is raised, afterwards returned.
        failed = _interpreters.run_string(interpreter, code)
        assert failed is None, failed
        check()
        assert served()
        _interpreters.destroy(interpreter)
        forget()
        check()


if __name__ == "__main__":
    directory = sys.argv[1]
    for part in (threads, forks, processes, programs, interpreters):
        part()
        print(part.__name__, flush=True)
