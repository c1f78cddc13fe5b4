"""Whether a load keeps the SLO, and whether the requests that were seen are enough to say so."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

TARGET = 0.95
BATCHES = 5  # of each run: long enough to be nearly independent of each other
_Z = 1.6449  # one-sided 95%
_HALVINGS = 40


class Judgement(Enum):
    """What the interval of the attainment says about the target."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the share of requests within the SLO lies, each end with a confidence of 95%."""

    low: float
    high: float

    def judge(self, target: float = TARGET) -> Judgement:
        """Pass or fail when all of it lies on one side."""
        if self.low >= target:
            return Judgement.PASS
        return Judgement.FAIL if self.high < target else Judgement.UNDECIDED


def batches(marks: NDArray[np.bool_]) -> tuple[float, ...]:
    """Shares of requests within the SLO in consecutive batches of equal size, as far as that goes."""
    parts = np.array_split(marks, min(BATCHES, len(marks))) if len(marks) else []
    return tuple(float(part.mean()) for part in parts)


@cache
def interval(shares: tuple[float, ...]) -> Interval:
    """The interval around the mean of batches; no request at all is none served.

    Batches that are better than the others never count against a load, nor worse ones for it: so whoever relaxes an
    SLO, which can only raise every share, cannot turn a pass into anything else.
    """
    values = np.asarray(shares or (0.0,), dtype=np.float64)
    return Interval(_lower(values), 1.0 - _lower(1.0 - values))


def decided(shares: Callable[[Sequence[int]], Iterable[float]], rounds: Iterable[Sequence[int]]) -> Judgement:
    """Round after round of seeds, until the batches of all that were run say that a load passes or that it fails."""
    seen: tuple[float, ...] = ()
    for seeds in rounds:
        seen += tuple(shares(seeds))
        if (judgement := interval(seen).judge()) is not Judgement.UNDECIDED:
            return judgement
    return Judgement.UNDECIDED


def _lower(values: NDArray[np.float64]) -> float:
    """The largest lower bound of the values or of any that are smaller: the best ones are cut to what helps most."""
    if len(values) == 1 or values[0] == values.min() == values.max():
        return float(values[0])
    low, high = float(values.min()), float(values.max())
    for _ in range(_HALVINGS):
        third = (high - low) / 3
        if _bound(values, low + third) < _bound(values, high - third):
            low += third
        else:
            high -= third
    return max(_bound(values, high), float(values.min()))


def _bound(values: NDArray[np.float64], cut: float) -> float:
    kept = np.minimum(values, cut)
    return float(kept.mean() - _student(len(kept) - 1) * kept.std(ddof=1) / sqrt(len(kept)))


def _student(freedom: int) -> float:
    """Student's one-sided 95% quantile, by the first terms of its expansion around the normal one."""
    first = (_Z**3 + _Z) / (4 * freedom)
    return _Z + first + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)
