"""What a machine takes around its passes: found by playing loads of a server of slots until they last as measured.

A server's slots decide what its steps carry, so no formula of single passes reads its loads. Two figures are moved:
what every step takes besides, and what every row of it does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration import physics
from calibration.fitting.observations import KERNELS
from calibration.points import Point
from calibration.profile import Profile, card
from calibration.scopes import HOST, Family, measurable, own, shape
from sim.cli.measured.case import Case
from sim.cli.measured.comparing import pairs
from sim.cli.measured.load import ARRIVALS, Served
from sim.cli.measured.outcome import Outcome
from sim.cli.measured.predictions import predictions

SLOT_KERNELS = "llama.cpp"
LOADS = ("single", "closed", "burst", *ARRIVALS)
USUALLY = (2000.0, 500.0)  # microseconds a step and a row: what Ollama takes under Windows (docs/slots.md)
NOISE = 0.05  # an error of so much counts in full; far larger ones count like their root
STEP = 0.02  # of what is usual, for a derivative
START, MOST = 0.1, 50.0  # times what is usual
MOST_RUNS = 400  # are played again and again
FIGURES = (("tpot_ms", 1), ("output_tps", -1), ("e2e_ms", 1))  # the first that is stated counts; a rate the other way
FITTED = "fitted: loads of one's own server, played"

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Around:
    """What one's machine takes around its passes."""

    step_us: float
    row_us: float

    def __str__(self) -> str:
        return f"{self.step_us / 1e3:.2f} ms a step and {self.row_us / 1e3:.2f} ms a row"


def is_load(point: Point) -> bool:
    """Whether requests were sent to a server of slots."""
    return KERNELS.get(point.engine) == SLOT_KERNELS and point.load in LOADS


def unusable(case: Case) -> str | None:
    """Why a load cannot be played as it was, or nothing."""
    point = case.point
    if not isinstance(case.asked.run, Served):
        return "a bench program measured it: no server"
    if not point.slots and (point.load in ARRIVALS or point.load_value > 1):
        return "how many slots the server had is not stated: --slots"
    if case.server.deployment.memory.layers_on_host:
        return "layers are on the CPU, as the memory is reckoned"
    figures = (point.tpot_ms_mean, point.itl_ms_mean, point.output_tps, point.e2e_ms_mean)
    return None if any(figures) else "neither a rate nor a time of its answers is stated"


def of_users(case: Case) -> bool:
    """Whether it is more than a stream by itself, of which the fit of single passes knows all."""
    return case.point.load != "single"


def with_own_servers(profile: Profile, cases: Sequence[Case]) -> tuple[Profile, dict[str, Around]]:
    """The profile with what the loads say of each card's machine, and what that is, by card."""
    found = {}
    for gpu in sorted({case.server.variant.gpu for case in cases if of_users(case)}):
        runs = [case for case in cases if case.server.variant.gpu == gpu]
        found[gpu] = fitted(profile, runs)
        profile = seen_with(beside(profile, family_of(runs[0]), found[gpu]), runs)
    return profile, found


def fitted(profile: Profile, cases: Sequence[Case]) -> Around:
    """What makes these loads, all of one card, last as measured: the most plausible of it."""
    from scipy.optimize import least_squares

    played, family = thinned(cases), family_of(cases[0])

    def off(shares: Array) -> Array:
        errors = errors_of(beside(profile, family, _around(shares)), played) / NOISE
        return np.concatenate([np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1)), shares])

    def slopes(shares: Array) -> Array:
        here = off(shares)
        return np.column_stack([(off(shares + STEP * one) - here) / STEP for one in np.eye(len(shares))])

    start = np.full(len(USUALLY), START)
    found = least_squares(off, start, jac=slopes, bounds=(0.0, MOST), xtol=1e-3, ftol=1e-3, max_nfev=20)
    return _around(found.x)


def errors_of(profile: Profile, cases: Sequence[Case]) -> Array:
    """Logarithms of how much longer each load lasts with the profile than it was measured to."""
    told = predictions(cases, [profile] * len(cases), 1, lambda _done, _all: None)
    return np.array([_error(case, each.outcome) for case, each in zip(cases, told, strict=True)])


def beside(profile: Profile, family: Family, around: Around) -> Profile:
    """The profile, with what the machine takes for its card."""
    (scope,) = own(HOST[0], family)
    taken = dict(zip(HOST, (around.step_us, around.row_us), strict=True))
    values = {**profile.coefficients, **{name: {**profile.coefficients[name], scope: taken[name]} for name in HOST}}
    told = {**profile.sources, **{f"{name}/{scope}": FITTED for name in HOST}}
    return replace(profile, coefficients=values, sources=told)


def seen_with(profile: Profile, cases: Sequence[Case]) -> Profile:
    """The profile, which now has seen these models on their card."""
    place = card(family_of(cases[0]))
    models = {measurable(family_of(case), shape(case.server.deployment.model)) for case in cases}
    seen: Mapping[str, frozenset[str]] = {**profile.seen, place: profile.seen.get(place, frozenset()) | models}
    return replace(profile, seen=seen)


def family_of(case: Case) -> Family:
    """Whose kernels the case's server runs."""
    return physics.family(case.server.deployment)


def thinned(cases: Sequence[Case]) -> list[Case]:
    """Some of them from one end to the other, where there are many."""
    return list(cases[:: -(-len(cases) // MOST_RUNS)])


def _around(shares: Array) -> Around:
    return Around(*(share * usual for share, usual in zip(shares.tolist(), USUALLY, strict=True)))


def _error(case: Case, outcome: Outcome | str) -> float:
    """Of the time of a token where it is stated, else of the whole; a run that fails says nothing."""
    found = {} if isinstance(outcome, str) else pairs(case.point, case, outcome)
    for name, sign in FIGURES:
        measured, predicted = found.get(name, (None, None))
        if measured and predicted:
            return sign * float(np.log(predicted / measured))
    return 0.0
