"""Prints all that a program can learn of modules: the same under pye as without. facts.py DIRECTORY EXTENSION"""

import ast
import contextlib
import dis
import importlib
import importlib.machinery
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import io
import linecache
import os
import pickle
import pkgutil
import runpy
import sys
import traceback
import types
import warnings

warnings.simplefilter("ignore")
directory, extension = sys.argv[1:3]


def show(*what):
    print(*what, flush=True)


def module_facts(name):
    module = importlib.import_module(name)
    spec = module.__spec__
    show("==", name)
    for attribute in ("__name__", "__file__", "__cached__", "__package__", "__doc__"):
        show(attribute, repr(getattr(module, attribute, "none")))
    show("__path__", list(getattr(module, "__path__", ["none"])))
    for attribute in ("name", "origin", "cached", "parent", "has_location", "loader_state", "submodule_search_locations"):
        value = getattr(spec, attribute)
        show("spec", attribute, list(value) if attribute.startswith("sub") and value is not None else value)
    show(repr(module).partition(" object at ")[0], sorted(vars(module)), spec == importlib.util.find_spec(name), module.__loader__ is spec.loader)
    loader = spec.loader
    for kind in ("SourceFileLoader", "FileLoader", "SourceLoader", "ExtensionFileLoader"):
        kind = getattr(importlib.machinery, kind, None) or getattr(importlib._bootstrap_external, kind)
        show(kind.__name__, isinstance(loader, kind))
    show(isinstance(loader, importlib.abc.SourceLoader), isinstance(loader, importlib.abc.InspectLoader))
    if hasattr(loader, "get_filename"):
        show(loader.name, loader.path, loader.get_filename(name), loader.is_package(name))
        with contextlib.suppress(ImportError):
            loader.get_filename("another name")
        show(repr(loader.get_source(name)))
    if isinstance(loader, importlib.machinery.SourceFileLoader):
        show(loader.get_data(loader.path)[:9], loader.path_stats(loader.path)["size"])
        code = loader.get_code(name)
        show(code.co_filename, code.co_name, code.co_firstlineno, code == loader.get_code(name), [c for c in code.co_consts if isinstance(c, str)])
        show(ast.dump(ast.parse(loader.get_source(name)))[:60], loader == spec.loader, loader != 1, hash(loader) == hash(spec.loader))
        show(loader.source_to_code(b"x = 1", "f").co_filename)
    return module


def all_facts():
    import importlib.abc

    for name in (
        "app", "app.mod", "app.sub", "app.sub.leaf", "app.fails", "app.lazy", "app.cyclic_a", "single", "both", "plain",
        "space.one", "space.two", "space.deep.three", "space", "partly", "twice", "hidden", "this", "größe",
        "native." + extension, "native2." + extension, "json.decoder", "app.__init__",
    ):
        module_facts(name)
    for name in ("app.nothing", "nothing", "single.x", "plain.inner", "partly.x", "app.sub.leaf.x"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            show(type(error).__name__, error, error.name, error.path)
        try:
            show(importlib.util.find_spec(name))
        except ImportError as error:
            show(type(error).__name__, error)
    import app.sub.leaf

    show(app.lazy.anything)
    for thing in (app.mod, app.mod.greet, app.mod.Shape, app.mod.Shape.area, app.sub.leaf):
        show(inspect.getsource(thing), inspect.getfile(thing), inspect.getdoc(thing), inspect.getcomments(thing))
        show(inspect.getsourcelines(thing)[1], inspect.getmodule(thing))
    show(inspect.signature(app.mod.greet), inspect.getsourcefile(app.mod.greet), linecache.getline(app.mod.__file__, 4))
    show(pickle.loads(pickle.dumps(app.mod.greet)) is app.mod.greet, pickle.loads(pickle.dumps(app.mod.Shape())).area())
    show(app.mod.greet.__code__.replace(co_name="other").co_consts, eval("greet('x')", vars(app.mod)))
    show([(type(n).__name__, n) for n in app.mod.NUMBERS])
    with contextlib.redirect_stdout(io.StringIO()) as text:
        dis.dis(app.mod.greet)
        dis.show_code(app.mod.greet)
        help(app.mod)
    show(text.getvalue())


def resources():
    show(pkgutil.get_data("app", "data.txt"))
    if hasattr(importlib.resources, "files"):
        files = importlib.resources.files("app")
        show(files.joinpath("data.txt").read_text(), sorted(each.name for each in files.iterdir()))
        with importlib.resources.as_file(files / "data.txt") as path:
            show(os.path.samefile(path, os.path.join(directory, "lib/app/data.txt")))
        if sys.version_info >= (3, 10):
            show(sorted(each.name for each in importlib.resources.files("space").iterdir()))
    if hasattr(importlib.resources, "read_text"):
        show(importlib.resources.read_text("app", "data.txt"), importlib.resources.is_resource("app", "data.txt"))
    import app

    show(sorted(name for _, name, _ in pkgutil.iter_modules(app.__path__)))
    show(sorted((name, package) for _, name, package in pkgutil.walk_packages([os.path.join(directory, "lib")], onerror=str)))
    show(pkgutil.resolve_name("app.mod:Shape.area").__qualname__, pkgutil.extend_path(list(app.__path__), "app"))
    show(type(pkgutil.get_importer(app.__path__[0])).__name__, sorted(each.metadata["Name"] for each in importlib.metadata.distributions()))


def tracebacks():
    import app.fails

    for call in (lambda: app.fails.outer(3), app.fails.import_it, lambda: importlib.import_module("app.broken")):
        try:
            call()
        except Exception:
            show(traceback.format_exc())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        app.fails.warn()
    show([(str(each.message), each.filename, each.lineno) for each in caught])


def running():
    show(sorted(runpy.run_module("app.mod", run_name="other")))
    show(runpy.run_module("single", alter_sys=True)["WHO"])
    show(runpy.run_path(os.path.join(directory, "lib", "single.py"))["WHO"])
    with contextlib.suppress(SystemExit):
        runpy.run_module("app", run_name="__main__", alter_sys=True)


def again():
    """Reloading, and modules that come and go."""
    import app.mod
    import single

    before = app.mod.greet
    show(importlib.reload(app.mod) is app.mod, app.mod.greet is before, app.mod.greet("x") == before("x"))
    del sys.modules["single"]
    import single as second

    show(second is single, second.WHO)
    importlib.invalidate_caches()
    del sys.modules["single"], sys.modules["app.sub.leaf"]
    import app.sub.leaf
    import single as third

    show(third.WHO, app.sub.leaf.parent)
    spec = importlib.util.find_spec("twice")
    lazy = importlib.util.LazyLoader.factory(importlib.machinery.SourceFileLoader)("lazily", spec.origin)
    spec = importlib.util.spec_from_file_location("lazily", spec.origin, loader=lazy)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    show(module.WHERE)
    spec = importlib.util.find_spec("single")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules["single"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    show(type(module).__name__, module.WHO, type(module).__name__)


def watched():
    """Tracing, profiling and monitoring see the same."""
    events = []

    def trace(frame, event, argument):
        if frame.f_code.co_filename.startswith(directory):
            events.append((event, os.path.relpath(frame.f_code.co_filename, directory), frame.f_lineno, frame.f_code.co_name))
        return trace

    for name in ("app.mod", "app.sub.leaf"):
        sys.modules.pop(name, None)
    sys.settrace(trace)
    try:
        import app.mod
        import app.sub.leaf

        app.mod.greet("trace", loudly=True)
        app.mod.Shape().area()
    finally:
        sys.settrace(None)
    show(events)
    if hasattr(sys, "monitoring"):
        seen = []
        tool = sys.monitoring.PROFILER_ID
        sys.monitoring.use_tool_id(tool, "test")
        for event in ("PY_START", "LINE", "PY_RETURN"):
            sys.monitoring.register_callback(
                tool, getattr(sys.monitoring.events, event),
                lambda code, *rest: seen.append((code.co_qualname, rest)) if code.co_filename.startswith(directory) else None,
            )
        sys.monitoring.set_events(tool, sys.monitoring.events.PY_START | sys.monitoring.events.LINE | sys.monitoring.events.PY_RETURN)
        app.mod.greet("monitor")
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.free_tool_id(tool)
        show(seen)
    import trace as coverage

    tracer = coverage.Trace(count=1, trace=0, ignoredirs=[])
    tracer.runfunc(app.mod.greet, "cover")
    show(sorted(item for item in tracer.results().counts.items() if item[0][0].startswith(directory)))


def hashed_names():
    """Mapped text as keyword, attribute and key."""
    import app.mod

    text = app.mod.TEXT
    holder = types.SimpleNamespace(**{text: 1})
    setattr(holder, app.mod.WIDE, 2)
    show(getattr(holder, text), vars(holder), (lambda **given: given)(**{app.mod.LATIN: 3}), sys.intern(text) is sys.intern(text[:]))
    show(type(app.mod.WIDEST, (), {app.mod.WIDEST: text}).__name__, {text: 1, app.mod.WIDE: 2}[text])


for facts in (all_facts, resources, tracebacks, running, again, watched, hashed_names):
    show("####", facts.__name__)
    facts()
show([type(each).__name__ if not isinstance(each, type) else each.__name__ for each in sys.meta_path if not type(each).__module__.startswith("pye")])
show([entry for entry in sys.path])
