"""A plugin of pytest, installed beside what is tested: tells in which way the modules of the process were imported."""
import json
import sys


def pytest_addoption(parser):
    parser.addoption("--imports-to", metavar="FILE", help="the file to write")
    parser.addoption("--imports-of", metavar="PACKAGE", action="append", default=[], help="a package whose modules are told one by one")


def pytest_unconfigure(config):
    path = config.getoption("--imports-to")
    if path is None:
        return
    loaders, files = {}, {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in config.getoption("--imports-of"):
            continue
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        kind = loader if isinstance(loader, type) else type(loader)
        loaders[name] = "%s.%s" % (kind.__module__, kind.__qualname__)
        files[name] = getattr(module, "__file__", None)
    pye = sys.modules.get("pye")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"pye": pye and pye.status(), "loaders": loaders, "files": files}, file)
