"""Where a server saturates, read in the same way from measured and from predicted figures; and what is said of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

from sim.cause import WAITS, Limit, StepShares, candidates
from sim.metrics import PointMetrics

Curve = Mapping[float, float]  # by load

PLATEAU_SHARE = 0.95  # of the highest rate
NOTHING_APART = StepShares()  # step tables do not tell the host from the device
FLAT = 0.05  # the last level gains less over the one before: throughput has stopped growing
FALL = 0.2  # lost from one number of slots to the next
LONGEST_WAIT_S = 2.0  # p99 TTFT; the bound of the SLO preset `server`

READINGS = {
    "carried": "requests that are decoded at once however many come: output rate x TPOT (Little's law), highest load",
    "plateau": "users at which the output rate reaches 95% of its highest level, interpolated between levels",
    "half": "users at which each has half a lone user's share of the output rate, interpolated between levels",
    "slots": "the most slots before a burst of two loses over 20% of its rate from one tested number to the next",
    "wait": "requests a second at which the p99 of TTFT passes 2 s, interpolated between levels",
    "failing": "the smallest number of users at which requests fail",
}


@dataclass(frozen=True, slots=True)
class Causes:
    """What holds requests back: what they wait for if they do, before the first token or later; else the largest part.

    `largest` is what most of an answer's time is owed to.
    """

    holding: Limit | None = None
    largest: Limit | None = None


@dataclass(frozen=True, slots=True)
class Cliff:
    """A saturation that was measured, beside its prediction."""

    server: str
    source: str
    reading: str  # of READINGS
    measured: float
    predicted: float
    shown: str  # by the source's own figures
    seen: Limit  # the cause that these figures show
    causes: Causes  # by the simulation
    rate_error_percent: float | None = None  # of the output rate at the highest load: how fast, not where

    @property
    def error_percent(self) -> float:
        """How far the predicted position is above the measured one."""
        return 100 * (self.predicted / self.measured - 1)

    @property
    def agrees(self) -> bool:
        """Whether the cause is the one that was seen."""
        return self.causes.holding == self.seen


def carried(output_tps: float, tpot_ms: float) -> float:
    """Requests being decoded at once, on average."""
    return output_tps * tpot_ms / 1000


def plateau(rates: Curve) -> float:
    """The load at which throughput stops growing."""
    enough = PLATEAU_SHARE * max(rates.values())
    return _first(rates, lambda rate: rate >= enough, enough)


def half(rates: Curve) -> float:
    """The load at which everybody is half as fast as the one user of the lowest level."""
    alone = min(rates)
    assert alone == 1, "no lone user was measured"
    shares = {users: rate / users for users, rate in rates.items()}
    bound = shares[alone] / 2
    return _first(shares, lambda share: share <= bound, bound)


def wait(p99_ttft_s: Curve) -> float:
    """The load at which the slowest first tokens take too long."""
    return _first(p99_ttft_s, lambda seconds: seconds >= LONGEST_WAIT_S, LONGEST_WAIT_S)


def slots(rates: Mapping[int, float]) -> tuple[int, int | None]:
    """The last number of slots before the fall and the number at which it has happened; None where there is none."""
    for before, after in pairwise(sorted(rates)):
        if rates[after] < (1 - FALL) * rates[before]:
            return before, after
    return max(rates), None


def by_shape(measured: Curve) -> str:
    """Which reading fits a throughput curve: the plateau where it has one."""
    before, last = sorted(measured)[-2:]
    return "plateau" if measured[last] < (1 + FLAT) * measured[before] else "half"


def beyond(loads: Sequence[float], position: float) -> float:
    """The level after the one at which the position is reached, if there is one: there the cause is read."""
    reached = [load for load in sorted(loads) if load >= position]
    return reached[min(1, len(reached) - 1)] if reached else max(loads)


def causes(metrics: PointMetrics, step: StepShares) -> Causes:
    """Why a load is not served faster, and what most of an answer's time is owed to."""
    likeliest = candidates(metrics, "e2e", step)
    waits = [limit for limit in likeliest if limit in WAITS]
    return Causes(next(iter(waits or likeliest), None), next(iter(likeliest), None))


def _first(curve: Curve, reached: Callable[[float], bool], level: float) -> float:
    """The load, interpolated over logarithms, at which a curve comes to a level."""
    loads = sorted(curve)
    if reached(curve[loads[0]]):
        return loads[0]
    for low, high in pairwise(loads):
        if reached(curve[high]):
            share = log(level / curve[low]) / log(curve[high] / curve[low])
            return float(low * (high / low) ** share)
    raise ValueError(f"the level {level:g} is never reached")
