"""The cliff itself: where a few more users multiply the wait for the first token."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log

STEEP = 3.0  # d ln p99(TTFT) / d ln users
LIFTED = 2.0  # times the unloaded p99
LEAST_HEIGHT = 1.5  # a p99 of a few seeds scatters by less


@dataclass(frozen=True, slots=True)
class Rise:
    """From one load to another the p99 TTFT grows `height` times."""

    first: int
    last: int
    height: float


def steepest_rise(p99_ttft: Mapping[int, float]) -> Rise | None:
    """The steep stretch that climbs most; None where the wait grows gradually. The lowest load counts as unloaded.

    Neighbouring loads that are both steep are one stretch, and a stretch counts once it ends at twice the unloaded
    wait or more.
    """
    loads = sorted(users for users, wait in p99_ttft.items() if wait > 0)
    stretches: list[list[int]] = []
    for low, high in pairwise(loads):
        if log(p99_ttft[high] / p99_ttft[low]) < STEEP * log(high / low):
            continue
        if stretches and stretches[-1][-1] == low:
            stretches[-1].append(high)
        else:
            stretches.append([low, high])
    lifted = [each for each in stretches if p99_ttft[each[-1]] >= LIFTED * p99_ttft[loads[0]]]
    rises = [Rise(each[0], each[-1], p99_ttft[each[-1]] / p99_ttft[each[0]]) for each in lifted]
    steep = [rise for rise in rises if rise.height >= LEAST_HEIGHT]
    return max(steep, key=lambda rise: rise.height, default=None)
