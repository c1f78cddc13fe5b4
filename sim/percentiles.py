"""Means and percentiles: of plain samples, and of arithmetic progressions without writing out their terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Stats:
    """A distribution in a few numbers. A percentile between two samples is interpolated linearly."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    samples: int


def stats_of(samples: NDArray[np.float64], scale: float = 1.0) -> Stats | None:
    """Of the samples that are numbers, times `scale`; None when there are none."""
    present = samples[~np.isnan(samples)] * scale
    if not len(present):
        return None
    p50, p90, p95, p99 = np.percentile(present, PERCENTS).tolist()
    return Stats(float(present.mean()), p50, p90, p95, p99, len(present))


class Progressions:
    """Many arithmetic progressions of whole numbers that never fall; every term counts `weight` times."""

    def __init__(self, first: Integers, growth: Integers, steps: Integers, weight: Integers) -> None:
        used = (steps > 0) & (weight > 0)
        first, growth, steps, weight = first[used], growth[used], steps[used], weight[used]
        constant = growth == 0
        # equal terms are one term of more weight, and then nothing is divided by zero
        self._weight = np.where(constant, weight * steps, weight)
        self._steps = np.where(constant, 1, steps)
        self._growth = np.where(constant, 1, growth)
        self._first = first
        self.count = int((self._weight * self._steps).sum())

    @classmethod
    def joined(cls, parts: Sequence[tuple[Integers, Integers, Integers, Integers]]) -> "Progressions":
        """All progressions of several lists of (first, growth, steps, weight)."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def stats(self, scale: float = 1.0) -> Stats | None:
        """Of all terms, times `scale`; None when there are none."""
        if not self.count:
            return None
        p50, p90, p95, p99 = (self.percentile(percent) * scale for percent in PERCENTS)
        return Stats(self.mean() * scale, p50, p90, p95, p99, self.count)

    def mean(self) -> float:
        """Of all terms; in floating point, because the sum of all terms overflows 64 bits."""
        steps = self._steps.astype(np.float64)
        middle = self._first + self._growth * (steps - 1) / 2
        return float((self._weight * steps * middle).sum() / self.count)

    def percentile(self, percent: int) -> float:
        """The value that numpy.percentile gives for the terms written out."""
        place, beyond = divmod((self.count - 1) * percent, 100)
        lower = self.nth(place)
        if not beyond or self.at_most(lower) > place + 1:
            return float(lower)
        return lower + (self._next_above(lower) - lower) * beyond / 100

    def at_most(self, value: int) -> int:
        """How many terms do not exceed the value."""
        return int((self._terms_at_most(value) * self._weight).sum())

    def nth(self, place: int) -> int:
        """The term with `place` others before it in order of size, found by bisection on whole numbers."""
        first, growth, steps, weight = self._first, self._growth, self._steps, self._weight
        low, high = int(first.min()) - 1, int((first + growth * (steps - 1)).max())
        at_low, at_high, passed = np.zeros_like(steps), steps, 0
        while high - low > 1:
            middle = (low + high) // 2
            at_middle = _terms_at_most(middle, first, growth, steps)
            if passed + int((at_middle * weight).sum()) > place:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
            # who has no term between the two bounds is counted once and not looked at again
            alive = at_low < at_high
            passed += int((at_low * weight)[~alive].sum())
            first, growth, steps, weight = first[alive], growth[alive], steps[alive], weight[alive]
            at_low, at_high = at_low[alive], at_high[alive]
        return high

    def _next_above(self, value: int) -> int:
        """The smallest term larger than the value."""
        terms = self._terms_at_most(value)
        some = terms < self._steps
        return int((self._first + self._growth * terms)[some].min())

    def _terms_at_most(self, value: int) -> Integers:
        return _terms_at_most(value, self._first, self._growth, self._steps)


def _terms_at_most(value: int, first: Integers, growth: Integers, steps: Integers) -> Integers:
    """How many terms of each progression do not exceed the value."""
    counted: Integers = np.clip((value - first) // growth + 1, 0, steps)
    return counted
