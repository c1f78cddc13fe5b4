"""Loads of one's own servers of slots, beside a fit of step times: played, and the machine's share of them found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibration.fit import Fit
from calibration.points import Point
from calibration.profile import load
from sim.cli.measured.case import Case, cases
from sim.cli.measured.physics_gate import refusal
from sim.cli.measured.serving import Around, Array, errors_of, is_load, of_users, unusable, with_own_servers

Say = Callable[[str], None]
Reasons = Sequence[tuple[Point, str]]


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads, what each card's machine takes around its passes, and how far off they were and are."""

    cases: Sequence[Case] = ()
    around: Mapping[str, Around] = field(default_factory=dict)
    shipped: Array = field(default_factory=lambda: np.zeros(0))  # logarithms of predicted over measured times
    fitted: Array = field(default_factory=lambda: np.zeros(0))


def with_loads(fit: Fit, points: Sequence[Point], say: Say) -> tuple[Fit, Loads]:
    """The fit with what one's own loads say beside it, and the account of them."""
    played, left = loads_among(points)
    if not any(map(of_users, played)):
        return replace(fit, unusable=better_told(fit.unusable, left)), Loads()
    say(f"playing {len(played):,} loads of servers of slots")
    profile, around = with_own_servers(fit.profile, played)
    loads = Loads(played, around, errors_of(load("measured"), played), errors_of(profile, played))
    used = {id(case.point) for case in played}
    missed = [(point, why) for point, why in fit.unusable if id(point) not in used]
    return replace(fit, profile=profile, unusable=better_told(missed, left)), loads


def loads_among(points: Sequence[Point]) -> tuple[list[Case], Reasons]:
    """Points that are loads of a server of slots, and why others that might be are none."""
    lines = [(row, point) for row, point in enumerate(points, 1) if is_load(point)]
    found, unmapped = cases(lines, refusal)
    reasons = [(case, unusable(case)) for case in found]
    named = dict(lines)
    left = [(named[each.row], each.reason) for each in unmapped]
    left += [(case.point, why) for case, why in reasons if why is not None]
    return [case for case, why in reasons if why is None], left


def better_told(missed: Reasons, left: Reasons) -> tuple[tuple[Point, str], ...]:
    """Points that cannot be used, those that are loads with what keeps them from being played."""
    told = {id(point): why for point, why in left}
    return tuple((point, told.get(id(point), why)) for point, why in missed)
