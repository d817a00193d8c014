"""A layer of a container image: what demo/container/build-layer writes, by way of an archive."""
import os
import shutil
import subprocess

import containers
from environment import CannotMeasure


def build(measured, site, build_layer, profile, scratch, archive):
    """Runs the program `build_layer` in a container, with the Python package pye from `site` installed, and packs what it wrote into
    `archive`. Returns what it printed. `scratch` is as for containers.command."""
    # What `pip install` does with the wheel, in a layer below.
    script = 'cp -r "$1/pye" "$2/" && exec "$3" "$4" "$5"'
    inner = ["sh", "-c", script, "sh", site, measured.about["site"], build_layer, measured.python.parent.parent, profile]
    variables = {name: value for name, value in measured.base().items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = containers.command(scratch, 0, [str(part) for part in inner], runtime=measured.runtime)
    done = subprocess.run(command, env=variables, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode != 0:
        raise CannotMeasure("build-layer failed, exit status %d:\n%s" % (done.returncode, done.stdout.strip()))
    upper = containers.written(scratch, 0)
    removed = [path for path in upper.rglob("*") if path.is_char_device()]
    if removed:
        raise CannotMeasure("the layer removes files of those below, which this script does not handle: %s" % removed[0])
    # The GNU format has times in whole seconds, cut off, as container engines write them.
    subprocess.run(["tar", "--create", "--format=gnu", "--file", str(archive), "--directory", str(upper), "."], check=True)
    shutil.rmtree(str(upper))
    return done.stdout.rstrip()


def unpack(archive, layer, time):
    """The layer, as an engine unpacks it after pulling an image; all files of this time, in seconds since 1970, if one is given."""
    layer.mkdir()
    layer.chmod(0o755)
    subprocess.run(["tar", "--extract", "--preserve-permissions", "--file", str(archive), "--directory", str(layer)], check=True)
    for path in [] if time is None else [layer, *layer.rglob("*")]:
        os.utime(str(path), (time, time), follow_symlinks=False)
