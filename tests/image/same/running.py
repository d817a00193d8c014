"""runpy, and what loaders tell: sources, code and data of modules in the image."""

import importlib.resources
import importlib.util
import inspect
import pkgutil
import runpy
import sys

from show import show

sys.argv[1:] = ["one", "two"]
show(sorted(runpy.run_module("imaged.constants", run_name="other")))
show(sorted(runpy.run_module("imaged.hot", alter_sys=True)))
runpy.run_module("imaged", run_name="__main__", alter_sys=True)
spec = importlib.util.find_spec("imaged.functions")
namespace = runpy.run_path(spec.origin, init_globals={"given": 1})
show(namespace["looped"](30), namespace["given"], namespace["__name__"])
for name in ("imaged", "imaged.functions", "imaged.text"):
    spec = importlib.util.find_spec(name)
    loader = spec.loader
    source = loader.get_source(name)
    show(name, source == open(spec.origin, encoding="utf-8").read(), loader.is_package(name), loader.get_filename(name) == spec.origin)
    show(loader.get_data(spec.origin)[:20], isinstance(loader, importlib.machinery.SourceFileLoader), spec.cached == importlib.util.cache_from_source(spec.origin))
    show(loader.source_to_code(source.encode(), spec.origin).co_consts[0] == loader.get_code(name).co_consts[0])
show(pkgutil.get_data("imaged", "names.py")[:10], sorted(each.name for each in pkgutil.iter_modules(importlib.import_module("imaged").__path__)))
show(importlib.resources.files("imaged").joinpath("hot.py").read_text(encoding="utf-8")[:20])
import imaged.functions  # noqa: E402

show(inspect.getsource(imaged.functions.looped), imaged.functions.looped(30), imaged.functions.__spec__.origin == imaged.functions.__file__)
