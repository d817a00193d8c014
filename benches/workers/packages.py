"""Packages of pye: made by `pye link`, and what has Python import from them."""
import json
import os
import subprocess

from activation import Activation, Unavailable

# Shortest text and byte string to cut out: what `pye run` takes when it links by itself, and `pye estimate` assumes.
THRESHOLDS = ["--min-blob", "32", "--min-bytes", "4096"]
# Switches images off: the portable form is what is measured.
PORTABLE = {"PYE_IMAGE": "0"}

# Run by the interpreter with the packages activated; pye has been imported to activate them.
STATUS = "import json, sys; exec(sys.argv[1]); print(json.dumps(sys.modules['pye'].status()))"


def link(pye, root, package):
    """Links the directory `root` into `package`."""
    if pye is None:
        raise Unavailable("no pye: python/stage makes it, --pye FILE names one")
    _link(pye, root, package)


def link_image(pye, root, package, environment, profile=None):
    """The same with an image for the interpreter of `environment`, laid out by `profile` (what `pye trace` wrote) where there is one."""
    needs(pye, ["link"], "--image")
    more = ["--tag", environment.about["cache_tag"], "--image", "--python", str(environment.python)]
    _link(pye, root, package, *more, *(["--profile", str(profile)] if profile else []))


def needs(pye, command, option=None):
    """Unavailable unless this pye has the command, and the command the option."""
    if pye is None:
        raise Unavailable("no pye: python/stage makes it, --pye FILE names one")
    asked = subprocess.run([*pye, *command, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if asked.returncode != 0:
        raise Unavailable("this pye has no `%s`" % " ".join(command))
    if option is not None and option not in asked.stdout:
        raise Unavailable("`%s` of this pye has no %s" % (" ".join(command), option))


def activation(environment, pye, packages, image, search=()):
    """What has Python import from these pairs of a root and its package, by images or not, with the directories `search` on PYTHONPATH.

    Where what `pye run` does is but to set the environment (so that children inherit it), that environment is used as it is, and no
    process is started by way of it.
    """
    prefix = [*pye, "run"]
    for root, package in packages:
        prefix += ["--package", "%s=%s" % (root, package)]
    prefix.append("--")
    base, variables = environment.base(), {} if image else PORTABLE
    asked = subprocess.run([*prefix, str(environment.python), "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
                           env={**base, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if asked.returncode != 0:
        raise Unavailable("pye run: " + asked.stderr.strip().replace("\n", " "))
    seen = json.loads(asked.stdout)
    changed = {name: value for name, value in seen.items() if base.get(name) != value}
    boot = changed.get("PYTHONPATH", "")
    # Not before: pye may be a Python program itself, of another version than what `search` is for.
    paths = [path for path in (boot, *map(str, search)) if path]
    found = Activation(variables=changed) if "PYE_PACKAGES" in changed and os.path.isdir(boot) else Activation(prefix, [], dict(variables))
    if paths:
        found.variables["PYTHONPATH"] = ":".join(paths)
    return found


def require_image(environment, activation_, imports, **variables):
    """Unavailable, with the reason that pye gives, unless a process that executes `imports` is served from the image of each package."""
    asked = subprocess.run(activation_.command(environment, "-c", STATUS, imports), env=activation_.environment(environment, **variables),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if asked.returncode != 0:
        raise Unavailable("pye.status(): " + (asked.stderr.strip().splitlines() or ["no answer"])[-1])
    reason = why_no_image(json.loads(asked.stdout))
    if reason is not None:
        raise Unavailable("the image is not used: " + reason)


def why_no_image(status):
    """Why not every package that `pye.status()` tells of is served from an image; None when each is."""
    stores = [store for each in status["activations"] for store in (each["loaded"] or {}).get("stores", [])]
    if not stores:
        return next((each["reason"] for each in status["activations"] if each["reason"]), "no package is active")
    for store in stores:
        image = store.get("image")
        if not image:
            return "%s: no image" % store["path"]
        if image["state"] != "mapped":
            return image["state"]
    return None


def _link(pye, root, package, *more):
    done = subprocess.run([*pye, "link", *THRESHOLDS, *more, str(root), "--output", str(package)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode != 0:
        raise Unavailable("pye link %s: %s" % (root, (done.stdout.strip().splitlines() or ["?"])[-1]))
