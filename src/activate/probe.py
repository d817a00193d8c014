"""Tells pye what this interpreter is: one line of JSON, the last on standard output. Runs on every Python, to be refused by name.

A path is a string with one character a byte.
"""
import sys

# Not the working directory's modules: neither here nor when looking for pye.
sys.path[:] = [p for p in sys.path if p]

import json
import os
import platform
import sysconfig


def path(value):
    if value is None:
        return None
    return (value if isinstance(value, bytes) else os.fsencode(value)).decode("latin-1")


def magic():
    try:
        from importlib.util import MAGIC_NUMBER
    except ImportError:
        import imp

        return imp.get_magic()[:2]
    return MAGIC_NUMBER[:2]


def sites():
    """The directories that distributions are installed to, as they stand on sys.path."""
    import site

    found = getattr(site, "getsitepackages", list)()
    if getattr(site, "ENABLE_USER_SITE", False):
        found.append(site.getusersitepackages())
    return [p for p in found if p in sys.path and os.path.isdir(p)]


def package():
    """The directory of the package pye that an import would find."""
    try:
        from importlib.machinery import PathFinder

        return list(PathFinder.find_spec("pye").submodule_search_locations)[0]
    except Exception:
        return None


def program():
    """The file that is running."""
    try:
        return os.readlink("/proc/self/exe")
    except (IOError, OSError):
        return None


def main():
    paths = sysconfig.get_paths()
    # A virtual environment's own platstdlib holds site-packages only and is not searched.
    libraries = [p for p in (paths["stdlib"], paths["platstdlib"]) if p in sys.path and os.path.isdir(p)]
    low, high = bytearray(magic())
    file, start = runtime() or (None, None)
    in_venv = sys.prefix != getattr(sys, "base_prefix", sys.prefix)
    print(json.dumps({
        "executable": path(sys.executable),
        "implementation": platform.python_implementation(),
        "version": list(sys.version_info[:3]),
        "build": sys.version.replace("\n", " "),
        "cache_tag": getattr(getattr(sys, "implementation", None), "cache_tag", None),
        "magic": low | high << 8,
        "debug": hasattr(sys, "gettotalrefcount"),
        "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
        "prefix": path(sys.prefix),
        "virtual_environment": in_venv,
        # PEP 668: the distribution's package manager looks after it.
        "externally_managed": not in_venv and os.path.exists(os.path.join(paths["stdlib"], "EXTERNALLY-MANAGED")),
        "libraries": [path(p) for p in sorted(set(libraries), key=libraries.index)],
        "sites": [path(p) for p in sites()],
        "site_packages": path(paths["purelib"]),
        "package": path(package()),
        "program": path(program()),
        "runtime": path(file),
        "runtime_start": start,
    }))


main()
