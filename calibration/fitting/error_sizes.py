"""How large errors of predictions are, whichever way they miss: what half of them and nine in ten stay within."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ErrorSizes(NamedTuple):
    """Shares of what was measured."""

    median: float
    p90: float


def sizes(errors: Sequence[float]) -> ErrorSizes:
    """Of shares by which predictions are too high, or too low below 0."""
    off = np.abs(np.asarray(errors))
    return ErrorSizes(float(np.median(off)), float(np.quantile(off, 0.9)))


def sizes_of_logarithms(errors: Sequence[float]) -> ErrorSizes:
    """Of logarithms of predicted over measured, as fits leave them."""
    return sizes(np.expm1(np.asarray(errors)).tolist())
