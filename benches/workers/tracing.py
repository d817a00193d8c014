"""The profile of a workload, by which an image is laid out."""
import packages
from activation import Activation, Unavailable


def profile(environment, workload, pye):
    """What `pye trace` wrote of one worker that does everything once: a file."""
    packages.needs(pye, ["trace"])
    path = environment.work / (workload.name + ".profile")
    part = path.with_suffix(".part")
    part.unlink() if part.exists() else None
    tracing = Activation(prefix=[*pye, "trace", "--output", str(part), "--"])
    with workload.session(environment, tracing, "spawn", 1, freeze=False, before_exec=None) as session:
        session.work()
        session.end()
    if not part.exists():
        raise Unavailable("pye trace wrote no profile: see %s" % (environment.work / "log"))
    part.replace(path)
    return path
