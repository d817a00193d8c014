"""Ratios of runs that were made side by side."""
from statistics import geometric_mean, median


def paired(values, base):
    """Each value by the base's of the same round."""
    return [a / b for a, b in zip(values, base)]


def over_programs(programs, contender, base):
    """For each program that both could run the median of the rounds' ratios, by name, and the geometric mean of those."""
    medians = {name: median(paired(times[contender], times[base])) for name, times in programs.items() if {contender, base} <= set(times)}
    return medians, geometric_mean(medians.values())
