"""Which profile predicts which measurement: one for all, or for each part one that was fitted without it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from calibration import sources
from calibration.points import Point
from calibration.profile import Profile
from calibration.validate import folds
from sim.cli.point_case import Case

Refit = Callable[[Sequence[Point]], Profile]

LEFT_OUT: dict[str, Callable[[Case], str]] = {
    "source": lambda case: case.point.source_id,
    "laboratory": lambda case: laboratory(case.point.source_id),
    "gpu": lambda case: case.server.variant.gpu,
    "model": lambda case: case.server.variant.model,
}
MODES = ("none", *LEFT_OUT)


@dataclass(frozen=True, slots=True)
class Assigned:
    """The profile of each case, and what it was fitted without."""

    profiles: list[Profile]
    held_out: list[str | None]


def one_for_all(cases: Sequence[Case], profile: Profile) -> Assigned:
    """The same profile for every measurement."""
    return Assigned([profile] * len(cases), [None] * len(cases))


def without_own_part(cases: Sequence[Case], mode: str, refit: Refit, report: Callable[[int, int], None]) -> Assigned:
    """For each measurement a profile that has seen nothing of its source, laboratory, GPU or model."""
    parts = folds([LEFT_OUT[mode](case) for case in cases])
    profiles: dict[int, tuple[Profile, str]] = {}
    for done, fold in enumerate(parts):
        report(done, len(parts))
        fitted = refit([cases[place].point for place in fold.fitted])
        profiles |= dict.fromkeys(fold.held_out, (fitted, f"{mode} {fold.key}"))
    places = range(len(cases))
    return Assigned([profiles[place][0] for place in places], [profiles[place][1] for place in places])


def laboratory(source_id: str) -> str:
    """Who ran a source's measurements, where that is known."""
    known = sources.sources().get(source_id)
    return source_id if known is None else known.laboratory
