"""Commands, the variables they get, and why nothing can be judged."""
import os
import pathlib
import subprocess


class Unusable(Exception):
    """Why nothing can be judged, and what to do about it."""


def environment():
    """The variables that all have. Nothing of the caller's PYTHON* or PYE* comes in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8"}


def output(*command, env, cwd=None):
    """What a command prints; Unusable unless it succeeds."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Unusable("%s does not run: %s" % (words[0], error.strerror)) from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
        raise Unusable("%s …: status %d: %s" % (" ".join(words[:4]), done.returncode, last))
    return done.stdout


def staged():
    """Where python/stage has laid the package out in the checkout."""
    site = pathlib.Path(__file__).resolve().parents[2] / "target" / "site"
    if not (site / "pye" / "_native.abi3.so").exists():
        raise Unusable("no pye: run python/stage, or name a directory that has it by --site")
    return site
