"""How many copies of a deployment carry a load: one copy's capacity by search, their number by a run with all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sim import compose
from sim.capacity import bracket, next_users, passes
from sim.cli.variants import Prepared
from sim.compose import Traffic
from sim.judging import Judgement
from sim.merging import judge, merge
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
    factor: float = 1.0  # of its step times
    band: tuple[int, int] | None = None  # the capacity at the slow and at the fast end of what step times may be

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
        self._settle(sized)
        return sized

    def bound(self, sized: Sequence[Sized]) -> None:
        """Search the capacity of what carries the load again, with step times at both ends of their band."""
        ends = {place: _ends(one) for place, one in enumerate(sized) if one.checked is not None}
        self._settle([end for pair in ends.values() for end in pair])
        for place, pair in ends.items():
            if pair:
                slow, fast = pair
                known = sized[place].capacity
                sized[place].band = min(slow.capacity, known), max(fast.capacity, known)

    def _settle(self, sized: Sequence[Sized]) -> None:
        """Run loads until the capacity of each is known."""
        while wanted := {place: users for place, one in enumerate(sized) if (users := self._next(one)) is not None}:
            runs = [self._run(sized[place], users, self.seeds[0]) for place, users in wanted.items()]
            for (place, users), (_, measured) in zip(wanted.items(), self.runner.run(runs), strict=True):
                sized[place].seen[users] = measured
                sized[place].verdicts[users] = passes([measured.attainment])

    def check(self, sized: Sequence[Sized]) -> None:
        """Find the copies that surely carry the load: as many as division says, then one more until runs confirm it."""
        for one in sized:
            one.replicas = -(-self.users // one.capacity) if one.capacity else self.max_replicas + 1
        while open_ones := [one for one in sized if one.checked is None and one.replicas <= self.max_replicas]:
            runs = [self._run(_copies(one), self.users, seed) for one in open_ones for seed in self.seeds]
            measured = [found for _, found in self.runner.run(runs)]
            count = len(self.seeds)
            for place, one in enumerate(open_ones):
                seeds = measured[place * count : (place + 1) * count]
                if judge(seeds) is Judgement.PASS:
                    one.checked = merge(seeds).value
                else:
                    one.replicas += 1

    def _run(self, one: Sized, users: int, seed: int) -> Run:
        """So many users on as many copies as the variant has."""
        variant, deployment = one.row.variant, one.row.deployment
        assert deployment is not None
        scenario = compose.scenario(variant, deployment, self.traffic, users, seed, one.factor)
        copies = f" on {variant.replicas} copies" if variant.replicas > 1 else ""
        moved = f" with steps x {one.factor:.4g}" if one.factor != 1.0 else ""
        return Run(Key(f"{variant.id}{copies}{moved}", users), scenario)

    def _next(self, one: Sized) -> int | None:
        assert one.row.deployment is not None
        slots = one.row.deployment.memory.slots
        most = self.most if one.factor == 1.0 else MOST_TIMES * self.most
        return next_load(one.verdicts, min(self.users, slots or LEAST_RANGE), most)


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


def _ends(one: Sized) -> tuple[Sized, ...]:
    """One copy with the slowest and with the fastest steps; none where nothing has failed or nobody knows the band."""
    assert one.row.deployment is not None
    fast, slow = compose.step_band(one.row.variant, one.row.deployment)
    if one.open_ended or (fast, slow) == (1.0, 1.0):
        return ()
    return tuple(Sized(one.row, _still(one.verdicts, factor), factor=factor) for factor in (slow, fast))


def _still(verdicts: Mapping[int, bool], factor: float) -> dict[int, bool]:
    """What holds of the bracket with other step times: slower steps carry no more than before, faster ones no less."""
    known = bracket(verdicts)
    ends = {known.passing: True, known.failing: False}
    return {users: passed for users, passed in ends.items() if users and (factor == 1.0 or passed == (factor < 1.0))}


def _copies(one: Sized) -> Sized:
    row = one.row
    return replace(one, row=replace(row, variant=replace(row.variant, replicas=one.replicas)))
