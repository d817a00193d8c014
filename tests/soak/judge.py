"""Whether a long run shows a leak: from samples alone, see sampling.Sampler.

Workers are recycled, so one that lives at the end of the run is as young as one that lives at its beginning. Two questions:
  over the run   do workers hold more in the last third of the run than workers that had served as many requests held in the first?
  with age       does a worker take more and more while it serves, beyond what stock takes?
Samples are put in bins by the requests that the worker had served; in a bin each worker counts once, by its mean. Bins are compared by the
median of their workers.
"""
import statistics
from dataclasses import dataclass

# A worker's life is divided into so many bins. The first is left out: there each kind of request comes for the first time.
BINS = 6
# Workers that a bin must have in each third for it to be compared.
LEAST_WORKERS = 2


@dataclass(frozen=True)
class Quantity:
    """Something that must not grow: `part` of what there is, plus `more`; and as much again as it changes in stock."""

    name: str
    part: float
    more: float


QUANTITIES = (
    Quantity("uss", 0.02, 0),
    Quantity("pss", 0.02, 0),
    # malloc and CPython's allocator map and unmap as the program goes on, and as many as happen to lie side by side are one.
    Quantity("mappings", 0, 8),
    Quantity("of_packages", 0, 0.5),
    Quantity("descriptors", 0, 0.5),
    Quantity("threads", 0, 0.5),
)


@dataclass(frozen=True)
class Change:
    """From `first` to `last`: medians, over the same bins."""

    first: float
    last: float

    @property
    def by(self):
        return self.last - self.first

    @property
    def part(self):
        return self.by / self.first if self.first else 0.0


def workers(run):
    """Of workers alone."""
    return [sample for sample in run["samples"] if sample["pid"] != sample["arbiter"]]


def bin_of(sample, max_requests):
    return min(BINS - 1, int(sample["age"] * BINS / max_requests))


def over_the_run(run, name):
    """The Change of workers of equal age from the first to the last third; None where too few can be compared."""
    thirds = [_by_worker(run, name, lambda sample, third=third: int(3 * sample["time"] / run["seconds"]) == third) for third in (0, 2)]
    common = [number for number in range(1, BINS) if all(len(third.get(number, ())) >= LEAST_WORKERS for third in thirds)]
    if not common:
        return None
    # A bin counts as much as the smaller of its two sides.
    weights = [min(len(third[number]) for third in thirds) for number in common]
    first, last = (sum(weight * statistics.median(third[number].values()) for weight, number in zip(weights, common)) / sum(weights)
                   for third in thirds)
    return Change(first, last)


def with_age(run, name):
    """The Change of workers from their second bin to their last two; None where there are too few that were seen in both."""
    bins = _by_worker(run, name, lambda sample: True)
    last = {**bins.get(BINS - 2, {}), **bins.get(BINS - 1, {})}
    both = [worker for worker in bins.get(1, ()) if worker in last]
    if len(both) < LEAST_WORKERS:
        return None
    first = statistics.median(bins[1][worker] for worker in both)
    return Change(first, first + statistics.median(last[worker] - bins[1][worker] for worker in both))


def arbiters_change(run, name):
    """The Change of that arbiter which took most more between the first and the last third of its samples; None without any."""
    found = []
    for arbiter in sorted({sample["arbiter"] for sample in run["samples"]}):
        values = [sample[name] for sample in run["samples"] if sample["pid"] == arbiter]
        third = len(values) // 3
        if third >= 2:
            found.append(Change(statistics.median(values[:third]), statistics.median(values[-third:])))
    return max(found, key=lambda change: change.by, default=None)


def growth(run, stock):
    """What grows in the run beyond what it may, or cannot be judged: sentences."""
    wrong = []
    for quantity in QUANTITIES:
        for what, find in (("over the run", over_the_run), ("with age", with_age)):
            mine, base = find(run, quantity.name), find(stock, quantity.name)
            if mine is None or base is None:
                wrong.append("%s %s: too few workers to compare%s; run longer, or with fewer --max-requests"
                             % (quantity.name, what, "" if mine is None else " under stock"))
            elif mine.by > quantity.part * mine.first + quantity.more + abs(base.by):
                wrong.append("%s of workers grow %s: from %.12g to %.12g (%+.2f %%); under stock from %.12g to %.12g (%+.2f %%)" % (
                    quantity.name, what, mine.first, mine.last, 100 * mine.part, base.first, base.last, 100 * base.part))
    for name, more in (("mappings", 8), ("descriptors", 2), ("threads", 0.5)):
        mine, base = arbiters_change(run, name), arbiters_change(stock, name)
        if mine is not None and mine.by > more + (abs(base.by) if base else 0):
            wrong.append("%s of an arbiter grow from %g to %g" % (name, mine.first, mine.last))
    return wrong


def generations(run):
    """What is wrong with the package files that processes have mapped: sentences. A process may have one generation of each, that which
    was there when its arbiter was executed: workers inherit what that has mapped, and map nothing of their own."""
    wrong = {}
    for sample in run["samples"]:
        for package, numbers in sample["generations"].items():
            due = run["arbiters"].get(str(sample["arbiter"]), {}).get(package)
            if numbers != [due]:
                wrong.setdefault((sample["pid"], package), "process %d of arbiter %d has generations %s of %s mapped, expected %s" % (
                    sample["pid"], sample["arbiter"], numbers, package, due))
    return list(wrong.values())


def of_run(run, stock):
    """All that is wrong with a run: sentences. `run` has

    seconds, max_requests, samples
    judged       whether it is long enough to be judged by growth
    wrong, crashes, not_in_use, broken      lists of sentences: wrong answers, processes that did not end well, why the form was not in
                                            use, what of the run itself failed
    arbiters     {number of an arbiter, as text: {package: generation when it was executed}}
    asked, upgrades    how many upgrades there should have been, and were
    releases, from_packages    how often a worker told the release, and how often it had it from a package; None where there is no package
    """
    wrong = [*run["broken"], *run["wrong"], *("crash: " + crash for crash in run["crashes"]), *("not in use: " + reason for reason in run["not_in_use"])]
    if run["upgrades"] != run["asked"]:
        wrong.append("%d of %d upgrades were made" % (run["upgrades"], run["asked"]))
    if run["judged"] and run["from_packages"] is not None and not 0 < run["from_packages"] < run["releases"]:
        wrong.append("%d of %d times the edited module came from a package: expected some, when it was just linked, and not all"
                     % (run["from_packages"], run["releases"]))
    if not run["samples"]:
        wrong.append("no sample was taken")
    return wrong + generations(run) + (growth(run, stock) if run["judged"] else [])


def _by_worker(run, name, chosen):
    """{bin: {worker: mean of its samples in the bin}}, of the workers' samples that are chosen."""
    values = {}
    for sample in workers(run):
        if chosen(sample):
            values.setdefault(bin_of(sample, run["max_requests"]), {}).setdefault(sample["pid"], []).append(sample[name])
    return {number: {worker: statistics.fmean(those) for worker, those in bin_.items()} for number, bin_ in values.items()}
