"""`--sensitivity`: the capacity of every variant with one parameter moved, by the search that found its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reports.document import SensitivityRow
from sim import compose
from sim.capacity import bracket
from sim.cli.explained import Explanation
from sim.cli.shifts import Shift, shifts
from sim.cli.sizing import next_load
from sim.cli.study import Study
from sim.errors import UsageError
from sim.judging import Judgement
from sim.merging import judge, merge
from sim.metrics import PointMetrics
from sim.runner import Key, Run, Runner

MOST_TIMES = 16  # the load that is expected to fail, in search of one that does
SEARCH_RUNS = 10  # that a search takes, about
MS = 1000

Points = Mapping[int, Sequence[PointMetrics]]


@dataclass
class Search:
    """The search for one capacity, as far as it is: outwards from where it is expected, then inwards."""

    shift: Shift
    start: int
    most: int
    verdicts: dict[int, bool] = field(default_factory=dict)
    seen: list[PointMetrics] = field(default_factory=list)  # at the load that is being tried
    rounds: int = 0  # of seeds, that it has been run with

    @property
    def users(self) -> int | None:
        """The load to try; None once the capacity is known."""
        return next_load(self.verdicts, self.start, self.most)

    def hear(self, measured: Sequence[PointMetrics], *, final: bool) -> None:
        """What the next seeds gave; a load that is still undecided after the final ones is not surely carried."""
        assert self.users is not None
        self.seen += measured
        self.rounds += 1
        judgement = judge(self.seen)
        if final or judgement is not Judgement.UNDECIDED:
            self.verdicts[self.users] = judgement is Judgement.PASS
            self.seen, self.rounds = [], 0


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches values of a parameter side by side, each load with the seeds of the study, few first."""

    study: Study
    runner: Runner[PointMetrics]

    def search(self, searches: Sequence[Search]) -> None:
        """Carry the searches on until every capacity is known."""
        rounds = self.study.plan.rounds
        while begun := [one for one in searches if one.users is not None]:
            wanted = [(one, rounds[one.rounds]) for one in begun]
            runs = [self._run(one, seed) for one, seeds in wanted for seed in seeds]
            measured = iter([found for _, found in self.runner.run(runs)])
            for one, seeds in wanted:
                one.hear([next(measured) for _ in seeds], final=one.rounds == len(rounds) - 1)

    def _run(self, one: Search, seed: int) -> Run:
        shift = one.shift
        assert shift.deployment is not None
        scenario = compose.scenario(shift.variant, shift.deployment, shift.traffic, one.users, seed)
        return Run(Key(shift.label, one.users), scenario)


def sensitivity(
    study: Study, runner: Runner[PointMetrics], told: Mapping[str, Explanation], points: Mapping[str, Points]
) -> Iterator[SensitivityRow]:
    """Every variant's rows, a parameter at a time; where the scenario itself is, what the sweep found."""
    searcher = Searcher(study, runner)
    for row in study.rows:
        known = told.get(row.variant.id)
        for moved in shifts(study, row).values():
            searches = [
                Search(shift, *_range(study, shift, known, points.get(row.variant.id, {})))
                for shift in moved
                if shift.deployment is not None and not shift.as_asked
            ]
            searcher.search(searches)
            found = {one.shift.value: bracket(one.verdicts).passing for one in searches}
            yield from (_row(shift, known, found) for shift in moved)


def planned(study: Study) -> int:
    """How many capacities are looked for."""
    moved = [shift for row in study.rows for each in shifts(study, row).values() for shift in each]
    return sum(shift.deployment is not None and not shift.as_asked for shift in moved)


def require_searchable(study: Study) -> None:
    """Refuse what has no capacity in users that could be looked for."""
    if not study.by_users:
        other = f"--load {study.flags.load}" if study.traffic.trace is None else "--trace"
        raise UsageError(f"--sensitivity looks for numbers of users: leave out {other}")
    if not study.grid.refine:
        raise UsageError("--sensitivity looks for capacities, not for loads that are listed: write --users 1..128")


def _row(shift: Shift, known: Explanation | None, found: Mapping[float, int]) -> SensitivityRow:
    users, band = found.get(shift.value), None
    if shift.as_asked and known is not None:
        users, band = _capacity(known), known.band
    low, high = band or (None, None)
    return SensitivityRow(shift.parameter, shift.value, shift.unit, shift.variant.id, users, low, high)


def _capacity(known: Explanation) -> int | None:
    """As the cliff is published: none where neither a load that passes nor the first that fails is known."""
    passing, failing = known.bracket.passing, known.bracket.failing
    return passing if passing or failing == 1 else None


def _range(study: Study, shift: Shift, known: Explanation | None, points: Points) -> tuple[int, int]:
    """Where the search begins, and the most users that it tries.

    Where the sweep itself found no load that fails, nothing is looked for beyond its range either: what it calls the
    capacity there is only the end of the range.
    """
    if known is None:
        return 1, study.grid.users[-1]
    edge = known.bracket.failing or known.bracket.passing or 1
    expected = _power_of_two(edge * _pausing(study, shift, points.get(known.bracket.passing)))
    if known.bracket.failing is None:
        return min(expected, study.grid.users[-1]), study.grid.users[-1]
    return expected, MOST_TIMES * expected


def _pausing(study: Study, shift: Shift, at_capacity: Sequence[PointMetrics] | None) -> float:
    """How many times as many users there are behind the same streams, by Little's law."""
    answers = merge(at_capacity).value.e2e if at_capacity else None
    if answers is None:
        return 1.0
    answer_s = answers.mean / MS
    return (answer_s + shift.traffic.think.mean_s) / (answer_s + study.traffic.think.mean_s)


def _power_of_two(users: float) -> int:
    """The next one up, so that searches from different places meet at the same loads."""
    return 1 << max(0, round(users) - 1).bit_length() if users > 1 else 1
