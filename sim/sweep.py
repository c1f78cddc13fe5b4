"""A sweep: every variant at every number of users with every seed, refined around the cliffs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sim.capacity import next_loads
from sim.judging import Judgement
from sim.runner import Key, Progress, Run, Runner
from sim.scenario import Scenario

__all__ = ["Findings", "Key", "Plan", "Progress", "Runner", "sweep"]

Measured = TypeVar("Measured")

MOST_SEEDS = 3  # times as many as asked, where a load is neither surely kept nor surely broken


@dataclass
class Findings(Generic[Measured]):
    """What is known so far: for every point that is complete, one measurement a seed."""

    points: dict[Key, list[Measured]] = field(default_factory=dict)
    interrupted: bool = False

    def of(self, variant: str) -> dict[int, list[Measured]]:
        """The points of one variant by number of users, ascending."""
        found = {key.users: seeds for key, seeds in self.points.items() if key.variant == variant}
        return {users: found[users] for users in sorted(users for users in found if users is not None)}


@dataclass(frozen=True)
class Plan:
    """What a sweep visits. `scenario` makes the run of a variant at a number of users with a seed."""

    variants: tuple[str, ...]
    users: tuple[int | None, ...]
    seeds: tuple[int, ...]
    scenario: Callable[[str, int | None, int], Scenario]
    refine: bool

    def runs(self, key: Key, seeds: Sequence[int] | None = None) -> list[Run]:
        """One run of a point for each seed."""
        return [Run(key, self.scenario(key.variant, key.users, seed)) for seed in seeds or self.seeds]

    @property
    def rounds(self) -> list[Sequence[int]]:
        """The seeds of a load that is run until it is decided: one, then the others that were asked for, then more."""
        count = len(self.seeds)
        more = [self.more_seeds(times * count) for times in range(1, MOST_SEEDS)]
        return [seeds for seeds in (self.seeds[:1], self.seeds[1:], *more) if seeds]

    def more_seeds(self, measured: int) -> list[int]:
        """As many again behind those that a point has been run with; none once it has enough."""
        if measured >= MOST_SEEDS * len(self.seeds):
            return []
        first = self.seeds[-1] + 1 + measured - len(self.seeds)
        return list(range(first, first + len(self.seeds)))


Judge = Callable[[list[Measured]], Judgement]


def sweep(
    plan: Plan,
    runner: Runner[Measured],
    judge: Judge[Measured],
    known: Callable[[str, Findings[Measured]], None] = lambda *_: None,
    hopeless: Callable[[list[Measured]], bool] = lambda _: False,
) -> Findings[Measured]:
    """Variant after variant: the grid, then loads between its last pass and its first failure until they are close.

    A load that is hopeless with its first seed is not run with the others. `known` hears of every variant that is
    done. An interrupt ends it early; the points that are complete are kept.
    """
    findings: Findings[Measured] = Findings()
    try:
        for variant in plan.variants:
            keys = [Key(variant, users) for users in plan.users]
            wanted = _visits(plan, keys, plan.seeds[:1] if plan.refine else plan.seeds)
            while wanted:
                _visit(wanted, runner, findings)
                points = findings.of(variant)
                wanted = _refinements(plan, variant, points, judge, hopeless) if plan.refine else []
            known(variant, findings)
    except KeyboardInterrupt:
        findings.interrupted = True
    return findings


Visit = tuple[Key, list[Run]]


def _visits(plan: Plan, keys: Sequence[Key], seeds: Sequence[int]) -> list[Visit]:
    return [(key, plan.runs(key, seeds)) for key in keys]


def _visit(wanted: Sequence[Visit], runner: Runner[Measured], findings: Findings[Measured]) -> None:
    """Run these points; each is noted once all its runs are there."""
    gathered: dict[Key, list[Measured]] = {key: [] for key, _ in wanted}
    awaited = {key: len(runs) for key, runs in wanted}
    for point, measured in runner.run([run for _, runs in wanted for run in runs]):
        gathered[point].append(measured)
        if len(gathered[point]) == awaited[point]:
            findings.points[point] = findings.points.get(point, []) + gathered[point]


def _refinements(
    plan: Plan,
    variant: str,
    points: Mapping[int, list[Measured]],
    judge: Judge[Measured],
    hopeless: Callable[[list[Measured]], bool],
) -> list[Visit]:
    """The seeds that are missing; then more for the loads that are undecided; then the next loads of a wide bracket."""
    begun = [users for users, seeds in points.items() if len(seeds) < len(plan.seeds) and not hopeless(seeds)]
    if begun:
        return _visits(plan, [Key(variant, users) for users in begun], plan.seeds[1:])
    judgements = {users: judge(seeds) for users, seeds in points.items()}
    wanted = []
    for users, judgement in judgements.items():
        seeds = plan.more_seeds(len(points[users])) if judgement is Judgement.UNDECIDED else []
        if seeds:
            wanted += _visits(plan, [Key(variant, users)], seeds)
    return wanted or _visits(plan, [Key(variant, users) for users in next_loads(judgements)], plan.seeds)
