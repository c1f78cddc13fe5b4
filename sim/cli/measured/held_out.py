"""Which profile predicts which measurement: one for all, or for each part one that was fitted without it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from calibration import sources
from calibration.points import Point
from calibration.profile import Profile
from calibration.validate import folds
from sim.cli.measured.case import Case
from sim.runner import in_parallel

Refit = Callable[[Sequence[Point]], Profile]
Report = Callable[[int, int], None]

PARTS = 5  # of the measurements, where some of every laboratory are held out
LEFT_OUT: dict[str, Callable[[Case], str]] = {
    "row": lambda case: f"in {case.row % PARTS + 1} of {PARTS}",
    "source": lambda case: case.point.source_id,
    "laboratory": lambda case: sources.laboratory(case.point.source_id),
    "gpu": lambda case: case.server.variant.gpu,
    "model": lambda case: case.server.variant.model,
}


@dataclass(frozen=True, slots=True)
class Assigned:
    """The profile of each case, and what it was fitted without."""

    profiles: list[Profile]
    held_out: list[str | None]


def one_for_all(cases: Sequence[Case], profile: Profile) -> Assigned:
    """The same profile for every measurement; some committed sources are in no fit."""
    never = [f"source {case.point.source_id}" if sources.is_check(case.point.source_id) else None for case in cases]
    return Assigned([profile] * len(cases), never)


def without_own_part(
    cases: Sequence[Case], pool: Sequence[Case], mode: str, refit: Refit, processes: int, report: Report
) -> Assigned:
    """For each measurement a profile from the rest of the pool, without its source, laboratory, GPU or model."""
    key_of = LEFT_OUT[mode]
    parts = folds([key_of(case) for case in pool])
    part_of = {key_of(pool[place]): number for number, part in enumerate(parts) for place in part.held_out}
    needed = sorted({part_of[key_of(case)] for case in cases})
    seen = [[pool[place].point for place in parts[number].fitted] for number in needed]
    fitted = [[point for point in points if not sources.is_check(point.source_id)] for points in seen]
    profiles: dict[int, Profile] = {}
    for number, fresh in zip(needed, _refitted(fitted, refit, processes), strict=True):
        profiles[number] = fresh
        report(len(profiles), len(needed))
    return Assigned([profiles[part_of[key_of(case)]] for case in cases], [f"{mode} {key_of(case)}" for case in cases])


def _refitted(fitted: Sequence[Sequence[Point]], refit: Refit, processes: int) -> Iterator[Profile]:
    if processes == 1 or len(fitted) == 1:
        return map(refit, fitted)
    return in_parallel(refit, fitted, processes)
