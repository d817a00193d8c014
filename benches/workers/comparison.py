"""Whether contenders answer as stock does."""


def compare(base, mine):
    """Two lists of answers for each worker, compared: how many there are, how many differ, and the first few that do."""
    different = []
    for worker, (of_base, of_mine) in enumerate(zip(base, mine)):
        if len(of_base) != len(of_mine):
            raise ValueError("worker %d gave %d answers, expected %d" % (worker, len(of_mine), len(of_base)))
        different += ["worker %d: %s; stock: %s" % (worker, b, a) for a, b in zip(of_base, of_mine) if a != b]
    return {"number": sum(map(len, mine)), "different": len(different), "first": different[:3]}


def settle(results, kind, base):
    """In each of the results of one group: the lists of answers that each of its `kind` (rounds, runs) has give way to what comparing them
    with the base's of the same round says, or None when the base took no part."""
    lists = {one["contender"]: [round_.pop("answers") for round_ in one[kind]] for one in results}
    for one in results:
        for number, round_ in enumerate(one[kind]):
            round_["answers"] = compare(lists[base][number], lists[one["contender"]][number]) if base in lists else None
