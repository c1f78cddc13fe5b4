"""Which profile predicts which measurement: one for all, or for each part one that was fitted without it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from calibration import sources
from calibration.points import Point
from calibration.profile import Profile
from calibration.validate import folds
from sim.cli.measured.case import Case

Refit = Callable[[Sequence[Point]], Profile]
Report = Callable[[int, int], None]

LEFT_OUT: dict[str, Callable[[Case], str]] = {
    "source": lambda case: case.point.source_id,
    "laboratory": lambda case: laboratory(case.point.source_id),
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
    never = [f"source {case.point.source_id}" if is_check(case.point.source_id) else None for case in cases]
    return Assigned([profile] * len(cases), never)


def without_own_part(cases: Sequence[Case], mode: str, refit: Refit, processes: int, report: Report) -> Assigned:
    """For each measurement a profile that has seen nothing of its source, laboratory, GPU or model."""
    keys = [LEFT_OUT[mode](case) for case in cases]
    parts = folds(keys)
    seen = [[cases[place].point for place in part.fitted] for part in parts]
    fitted = [[point for point in points if not is_check(point.source_id)] for points in seen]
    profiles: dict[int, Profile] = {}
    for done, (part, fresh) in enumerate(zip(parts, _refitted(fitted, refit, processes), strict=True), 1):
        profiles |= dict.fromkeys(part.held_out, fresh)
        report(done, len(parts))
    return Assigned([profiles[place] for place in range(len(cases))], [f"{mode} {key}" for key in keys])


def _refitted(fitted: Sequence[Sequence[Point]], refit: Refit, processes: int) -> Iterator[Profile]:
    if processes == 1 or len(fitted) == 1:
        return map(refit, fitted)
    from joblib import Parallel, delayed

    fresh: Iterator[Profile] = Parallel(processes, return_as="generator")(delayed(refit)(points) for points in fitted)
    return fresh


def is_check(source_id: str) -> bool:
    """Whether a source is kept out of every fit, to check with."""
    known = sources.sources().get(source_id)
    return known is not None and bool(known.held_out)


def laboratory(source_id: str) -> str:
    """Who ran a source's measurements, where that is known."""
    known = sources.sources().get(source_id)
    return source_id if known is None else known.laboratory
