"""Errors in the cells of the page: target and reached side by side, what is missed in bold."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from calibration.fitting.error_sizes import sizes_of_logarithms
from tests.held_out import Missed, checks, missed

Holds = Callable[[Missed], bool]
Targets = Mapping[str, tuple[int, int]]  # median and 90th percentile of the absolute error, per cent
SAME: Targets = {"throughput": (4, 11), "step": (5, 15), "ttft": (12, 30)}
NEW_MODEL: Targets = {"throughput": (5, 16), "step": (8, 20), "ttft": (15, 40)}
NEW_CARD: Targets = {"throughput": (7, 20), "step": (10, 25), "ttft": (20, 45)}
ELSEWHERE: Targets = {"throughput": (15, 35), "step": (15, 35)}


def found(way: str) -> tuple[Missed, ...]:
    """Predictions of what was not seen in this way."""
    return checks() if way == "check" else missed(way)


def sizes(errors: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile of the absolute errors, per cent."""
    off = sizes_of_logarithms(errors)
    return 100 * off.median, 100 * off.p90


def cell(alike: Sequence[Missed], target: tuple[int, int] | None) -> str:
    """Target, reached, in sample, and how many; what is missed is in bold."""
    if not alike:
        return "-"
    median, worse = sizes([one.error for one in alike])
    seen = [one.in_sample for one in alike]
    inside = "" if np.isnan(seen).any() else "; in sample {:.1f}/{:.0f}".format(*sizes(seen))
    reached = f"{median:.1f}/{worse:.0f}"
    if target is None:
        return f"{reached} (n {len(alike):,}{inside})"
    kept = median <= target[0] and worse <= target[1]
    return f"{target[0]}/{target[1]} · {reached if kept else f'**{reached}**'} (n {len(alike):,}{inside})"
