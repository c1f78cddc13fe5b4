"""How many copies of a deployment carry a load: one copy's capacity by search, their number by a run with all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sim import compose
from sim.capacity import bracket, next_users, passes
from sim.cli.variants import Prepared
from sim.compose import Traffic
from sim.merging import merge
from sim.metrics import PointMetrics
from sim.runner import Key, Run, Runner

LEAST_RANGE = 256
MOST_TIMES = 4  # the load that is asked for


@dataclass
class Sized:
    """What is known of one candidate."""

    row: Prepared
    verdicts: dict[int, bool] = field(default_factory=dict)  # of one copy, by users
    seen: dict[int, PointMetrics] = field(default_factory=dict)
    replicas: int = 1
    checked: PointMetrics | None = None  # all copies under the load, when they carry it

    @property
    def capacity(self) -> int:
        """Users that one copy carries."""
        return bracket(self.verdicts).passing

    @property
    def open_ended(self) -> bool:
        """Whether nothing failed that was tried."""
        return bracket(self.verdicts).failing is None


@dataclass(frozen=True)
class Sizing:
    """The load, and how candidates are put to it."""

    traffic: Traffic
    users: int
    seeds: Sequence[int]
    max_replicas: int
    runner: Runner[PointMetrics]

    @property
    def most(self) -> int:
        """More users than anybody needs to know about."""
        return max(LEAST_RANGE, MOST_TIMES * self.users)

    def search(self, rows: Sequence[Prepared]) -> list[Sized]:
        """The capacity of one copy of each, all searched side by side, with the first seed."""
        sized = [Sized(row) for row in rows]
        while wanted := {place: users for place, one in enumerate(sized) if (users := self._next(one)) is not None}:
            runs = [self._run(sized[place].row, users, self.seeds[0]) for place, users in wanted.items()]
            for (place, users), (_, measured) in zip(wanted.items(), self.runner.run(runs), strict=True):
                sized[place].seen[users] = measured
                sized[place].verdicts[users] = passes([measured.attainment])
        return sized

    def check(self, sized: Sequence[Sized]) -> None:
        """Find the copies that carry the load: as many as division says, then one more until a run confirms it."""
        for one in sized:
            one.replicas = -(-self.users // one.capacity) if one.capacity else self.max_replicas + 1
        while open_ones := [one for one in sized if one.checked is None and one.replicas <= self.max_replicas]:
            runs = [self._run(_copies(one), self.users, seed) for one in open_ones for seed in self.seeds]
            measured = [found for _, found in self.runner.run(runs)]
            count = len(self.seeds)
            for place, one in enumerate(open_ones):
                seeds = measured[place * count : (place + 1) * count]
                if passes([each.attainment for each in seeds]):
                    one.checked = merge(seeds).value
                else:
                    one.replicas += 1

    def _run(self, row: Prepared, users: int, seed: int) -> Run:
        assert row.deployment is not None
        scenario = compose.scenario(row.variant, row.deployment, self.traffic, users, seed)
        return Run(Key(row.variant.id, users), scenario)

    def _next(self, one: Sized) -> int | None:
        assert one.row.deployment is not None
        slots = one.row.deployment.memory.slots
        return next_load(one.verdicts, min(self.users, slots or self.users), self.most)


def next_load(verdicts: Mapping[int, bool], start: int, most: int) -> int | None:
    """The load to try next: outwards from the start by doubling and halving, then inwards; None once it is known."""
    if not verdicts:
        return start
    found = bracket(verdicts)
    if found.failing is None:
        return min(2 * found.passing, most) if found.passing < most else None
    if found.passing == 0:
        return found.failing // 2 or None
    return next_users(found)


def _copies(one: Sized) -> Prepared:
    return replace(one.row, variant=replace(one.row.variant, replicas=one.replicas))
