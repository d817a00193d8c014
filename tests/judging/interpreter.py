"""What an interpreter is, in which forms pye serves it, and whether it does."""
import json

from judging.command import Unusable, environment, output

# What modules come from: their own .pyc files, packages, or images in packages.
STOCK, PORTABLE, IMAGE = FORMS = ("stock", "portable", "image")
# Versions that pye has packages for, and that objects can be laid out for.
VERSIONS = ((3, 9), (3, 15))
IMAGES = ((3, 12), (3, 15))

# Run by it.
DESCRIBE = """
import json, os, sys, sysconfig
library = os.path.dirname(os.__file__)
standard = [library, os.path.join(library, "lib-dynload")]
print(json.dumps({
    "version": list(sys.version_info[:3]), "debug": hasattr(sys, "gettotalrefcount"), "name": sys.implementation.name,
    "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"), "cache_tag": sys.implementation.cache_tag,
    "roots": [path for path in sys.path if path in standard and os.path.isdir(path)], "build": sys.version.split("\\n")[0],
    "tests": os.path.isfile(os.path.join(library, "test", "libregrtest", "__init__.py")),
}))
"""

STATUS = "import json, sys; import colorsys; print(json.dumps(getattr(sys.modules.get('pye'), 'status', lambda: None)()))"


def describe(python):
    """What the program says of itself; Unusable if it is no CPython that pye serves."""
    try:
        about = json.loads(output(python, "-I", "-c", DESCRIBE, env=environment()))
        if about["name"] == "cpython" and VERSIONS[0] <= tuple(about["version"][:2]) <= VERSIONS[1]:
            return about
    except ValueError:
        pass
    raise Unusable("%s is no CPython 3.9 to 3.15" % python)


def forms(about):
    """The forms that pye has for it."""
    possible = IMAGES[0] <= tuple(about["version"][:2]) <= IMAGES[1] and about["gil"]
    return [PORTABLE, IMAGE] if possible else [PORTABLE]


def served(python, form, root, env):
    """What pye says of the package of `root` (the standard library's directory) in a process that imports from it; Unusable unless it is
    served in this form.
    """
    status = json.loads(output(python, "-c", STATUS, env=env))
    if form == STOCK:
        if status is not None:
            raise Unusable("%s: pye is active, and should not be: %s" % (python, status))
        return None
    if status is None:
        raise Unusable("%s: pye is not active: nothing has imported it" % python)
    store = next((each for each in stores(status) if each["root"] == root), None)
    if store is None:
        reasons = [status["unsuitable"]] + [each["reason"] for each in status["activations"]] + [str(each["refused"]) for each in status["activations"]]
        raise Unusable("%s: pye is not active: %s" % (python, next(filter(None, reasons), "no reason told")))
    reason = unlike(store, form)
    if reason:
        raise Unusable("%s: %s" % (python, reason))
    return store


def stores(status):
    """The packages in use by what `pye.status()` says."""
    return [store for each in status["activations"] for store in (each["loaded"] or {}).get("stores", [])]


def unlike(store, form):
    """Why a package is not in use in this form, or None."""
    image = store.get("image")
    if form == IMAGE and (not image or image["state"] != "mapped" or not image["loaded"]):
        return "the image is not used: %s" % (image["state"] if image else "there is none")
    if form == PORTABLE and (image or not store["loaded"]):
        return "the portable form is not used: %s" % store
    return None
