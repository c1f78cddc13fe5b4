"""Differences between runs that share their seeds: what both have in common drops out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from sim.judging import TARGET

# Student's quantile for an interval that holds the truth nine times in ten, by degrees of freedom.
_STUDENT = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)
_NORMAL = 1.645


@dataclass(frozen=True, slots=True)
class Gap:
    """The mean difference over the seeds, and where the true one lies nine times in ten; no ends with one seed."""

    value: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether all of the interval lies on one side of nothing."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def gap(values: Sequence[float], baseline: Sequence[float]) -> Gap:
    """What the values have more than the baseline's, seed by seed.

    Figures above zero are compared by their ratios, whose spread depends least on how large they are.
    """
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (values, baseline))
    mean, base = float((ours - theirs).mean()), float(theirs.mean())
    if len(ours) < 2:
        return Gap(mean, None, None)
    if min(ours.min(), theirs.min()) <= 0:
        reach = _reach(ours - theirs)
        return Gap(mean, mean - reach, mean + reach)
    factor = exp(_reach(np.log(ours / theirs)))
    whole = base + mean
    return Gap(mean, whole / factor - base, whole * factor - base)


def _reach(differences: NDArray[np.float64]) -> float:
    """How far the interval around their mean reaches to either side."""
    return student(len(differences) - 1) * float(differences.std(ddof=1)) / sqrt(len(differences))


def student(freedom: int) -> float:
    """How many standard errors the interval reaches to either side."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    return _NORMAL + (_NORMAL**3 + _NORMAL) / (4 * freedom)


def crossing(attainments: Mapping[int, float], target: float = TARGET) -> float | None:
    """The number of users at which one seed's share of good requests falls to the target, between loads by a line.

    None where it never does, or has at the first load already, unless that is a single user.
    """
    users, share = 0, 1.0
    for more in sorted(attainments):
        if attainments[more] < target:
            if users == 0 and more > 1:
                return None
            return users + (share - target) / (share - attainments[more]) * (more - users)
        users, share = more, attainments[more]
    return None
