"""Ratios of runs that were made side by side."""
from statistics import geometric_mean, median


def paired(values, base):
    """Each value by the base's of the same round."""
    return [a / b for a, b in zip(values, base)]


def over_programs(programs, contender, base):
    """For each program the median of the rounds' ratios, and the geometric mean of those: (list, number)."""
    medians = [median(paired(times[contender], times[base])) for times in programs.values()]
    return medians, geometric_mean(medians)
