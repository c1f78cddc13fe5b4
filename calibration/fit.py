"""From points to a profile: coefficients by least squares, curves by rows from what is left, and what was seen."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

from calibration import sources
from calibration.eras import V0
from calibration.fitting.least_squares import CLOSE_ENOUGH, Problem, Solution, scopes_of
from calibration.fitting.observations import Observation, by_kernels, observe, own_sources
from calibration.fitting.staircase import factors, staircases
from calibration.points import Point
from calibration.profile import Profile, Steps, card, load
from calibration.scopes import COEFFICIENTS, HOST, MIXED, TABLES, measurable, root, standard_link
from sim.errors import BadScenario

LEAST_CORRECTION = 1e-3  # of a logarithm; smaller ones are not worth a line
ENOUGH = 2  # others' points of a model on a card that make it measured


@dataclass(frozen=True)
class Fit:
    """A profile, what it was fitted to, how far off each point is, and the points that say nothing of passes."""

    profile: Profile
    observations: tuple[Observation, ...]
    errors: tuple[float, ...]  # logarithms of predicted over measured
    unusable: tuple[tuple[Point, str], ...]


def fit(points: Iterable[Point], name: str = "measured") -> Profile:
    """The profile of these points."""
    return fitted(points, name).profile


def fitted(points: Iterable[Point], name: str = "measured") -> Fit:
    """The profile of these points, with the account of how it came about."""
    observations, unusable = observe(points)
    if not observations:
        first = f"; the first: {unusable[0][1]}" if unusable else ""
        raise BadScenario(f"none of {len(unusable):,} points tells the time of a step{first}")
    return fit_observations(observations, unusable, name)


def fit_observations(
    observations: Sequence[Observation],
    unusable: Sequence[tuple[Point, str]] = (),
    name: str = "measured",
    close_enough: float = CLOSE_ENOUGH,
) -> Fit:
    """The same from observations."""
    profile = fitted_profile(observations, name, close_enough)
    errors = predicted_errors(profile, observations)
    return Fit(profile, tuple(observations), tuple(errors.tolist()), tuple(unusable))


def fitted_profile(
    observations: Sequence[Observation], name: str = "measured", close_enough: float = CLOSE_ENOUGH
) -> Profile:
    """What follows from observations, each engine's kernels by themselves, without how far off they are."""
    stairs: dict[str, Steps] = {}
    parts: dict[tuple[str, str], float] = {}
    laboratories: dict[str, float] = {}
    for alike in by_kernels(observations):
        found, curves = solved(alike, close_enough)
        stairs |= curves
        parts |= found.parts
        laboratories |= found.laboratories
    solution = Solution(parts, laboratories)
    return Profile(
        name=name,
        trust="measured",
        coefficients=coefficients(solution, observations),
        host=load("datasheet").host,
        sources=origins(observations, solution),
        staircases=stairs,
        seen=seen(observations),
    )


def solved(observations: Sequence[Observation], close_enough: float) -> tuple[Solution, dict[str, Steps]]:
    """First the formula, then what it misses by rows, then the formula beside that."""
    problem = Problem(observations, own_sources(observations))
    first = problem.solved(close_enough)
    stairs = staircases(observations, problem.errors(first), problem.stair_shares(first))
    problem.stairs = factors(observations, stairs)
    return problem.solved(close_enough, first), stairs


def coefficients(solution: Solution, observations: Sequence[Observation]) -> dict[str, dict[str, float]]:
    """Values of the widest scopes and corrections of the others, without those that correct nothing.

    What is in no measured time of some kernels, as the host's work or prompts beside answers, gets no value for them.
    """
    hosted = {one.family.kernels for one in observations if one.hosted}
    mixed = {one.family.kernels for one in observations if is_mixed(one)}
    listed = {root(one.family, V0) for one in observations if one.lists_blocks}
    told = {**dict.fromkeys(HOST, hosted), **dict.fromkeys(MIXED, mixed), **dict.fromkeys(TABLES, listed)}
    values: dict[str, dict[str, float]] = {name: {} for name in COEFFICIENTS}
    for (name, path), part in solution.parts.items():
        known = name not in told or path.split("/")[0] in told[name]
        if known and ("/" not in path or abs(part) > LEAST_CORRECTION):
            values[name][path] = exp(part)
    return values


def is_mixed(one: Observation) -> bool:
    """Whether answers were read beside prompts."""
    return any(work.mixed_cells for _, work in one.passes)


def origins(observations: Sequence[Observation], solution: Solution) -> dict[str, str]:
    """Which sources speak of each scope."""
    behind: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    users = own_sources(observations)
    for one in observations:
        for part in (f"{name}/{path}" for name in COEFFICIENTS for path in scopes_of(name, one, users)):
            behind[part].add(one.point.source_id)
            counts[part] += 1
    return {
        f"{name}/{path}": f"fitted: {counts[f'{name}/{path}']} points of {', '.join(sorted(behind[f'{name}/{path}']))}"
        for name, path in solution.parts
    }


def seen(observations: Sequence[Observation]) -> dict[str, frozenset[str]]:
    """Which models in which sort of format had decode steps measured, with whose kernels and on which card."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for one in observations:
        worth = worth_to_the_user(one) if any(work.decodes for _, work in one.passes) else 0
        counts[card(one.family), measurable(one.family, one.model)] += worth
    found: dict[str, set[str]] = defaultdict(set)
    for (place, model), count in counts.items():
        if count >= ENOUGH:
            found[place].add(model)
    return {place: frozenset(models) for place, models in found.items()}


def worth_to_the_user(one: Observation) -> int:
    """How many points a measurement stands for: one's own is enough, and another's links over PCIe say nothing."""
    if one.point.source_id not in sources.sources():
        return ENOUGH
    return int(standard_link(one.family))


def predicted_errors(profile: Profile, observations: Sequence[Observation]) -> Any:
    """Logarithms of predicted over measured of observations that a profile may not know."""
    problem = Problem(observations, {one.point.source_id for one in observations})
    problem.stairs = factors(observations, profile.staircases)
    parts = {(name, path): value for name, values in profile.coefficients.items() for path, value in values.items()}
    return problem.errors(Solution({key: log(value) for key, value in parts.items()}, {}))
