"""One session from stage A to D, with a snapshot of memory at each."""
import contextlib

import ksm
import memory

STAGES = ("A", "B", "C", "D")


def through_stages(environment, workload, contender, activation, mode, workers, pye=None):
    """Starts the workers and takes them through all stages.

    Returns {"stages": {stage: snapshot}, "answers": for each worker a list, "ksm_cpu": seconds of the kernel's thread until each
    stage had settled, or None, "blobs": for stages A and C what `pye measure` says, or None}.
    """
    result = {"stages": {}, "ksm_cpu": None, "blobs": {}}
    with contextlib.ExitStack() as stack:
        if contender.ksm:
            stack.enter_context(ksm.running())
            result["ksm_cpu"] = 0.0
        session = stack.enter_context(workload.session(
            environment, activation, mode, workers, contender.freeze, ksm.opt_in if contender.ksm else None))
        if contender.ksm and not all(ksm.opted_in(pid) for pid in session.workers):
            raise RuntimeError("PR_SET_MEMORY_MERGE did not last through fork and exec")

        def note(stage):
            if contender.ksm:
                result["ksm_cpu"] += ksm.settle()
            result["stages"][stage] = memory.snapshot(session.workers, session.parents)
            if pye is not None and contender.way.startswith("pye") and stage in "AC":
                result["blobs"][stage] = memory.shared_blobs(pye, session.workers, session.parents)

        note("A")
        session.collect()
        note("B")
        result["answers"] = session.work()
        session.collect()
        note("C")
        session.sweep()
        note("D")
    return result
