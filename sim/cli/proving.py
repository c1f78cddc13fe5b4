"""Searches beside the one that was asked for: with a knob moved, and with step times at the ends of their band."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sim import compose
from sim.capacity import Bracket, search
from sim.cause import Limit
from sim.cli.knobs import moves
from sim.cli.place import Move, Place
from sim.cli.study import Study
from sim.cli.variants import Prepared
from sim.errors import SimctlError
from sim.judging import Judgement, decided
from sim.metrics import PointMetrics
from sim.runner import Key, Run, Runner

MOST_LIMITS = 3  # tried before the likeliest is named without proof
MOST_MOVES = 3  # of the same limit
MOST_TIMES = 16  # the first failing load, in search of a new capacity


@dataclass(frozen=True, slots=True)
class Proof:
    """What moving a limit did: the change as one types it, and the capacity that it gives."""

    limit: Limit
    change: str
    capacity: int
    gains: bool


@dataclass(frozen=True, slots=True)
class Prober:
    """Repeats the search of one study under changed circumstances, with the same seeds."""

    study: Study
    runner: Runner[PointMetrics]

    def more(self, row: Prepared, label: str, known: Bracket) -> int:
        """The capacity of a deployment; that which is known if it carries no more."""
        assert known.failing is not None
        if not self._carries(row, label, known.failing):
            return known.passing
        return self.capacity(row, label, Bracket(known.failing, 2 * known.failing))

    def capacity(self, row: Prepared, label: str, known: Bracket, factor: float = 1.0) -> int:
        """The capacity of a deployment, looked for around a known bracket."""
        most = MOST_TIMES * (known.failing or known.passing or 1)
        return search(lambda users: self._carries(row, label, users, factor), known, most).passing

    def _carries(self, row: Prepared, label: str, users: int, factor: float = 1.0) -> bool:
        """Whether the load surely passes; what stays undecided is not carried, as in the sweep."""
        assert row.deployment is not None
        variant, deployment, traffic = row.variant, row.deployment, self.study.traffic

        def shares(seeds: Sequence[int]) -> Iterator[float]:
            scenarios = [compose.scenario(variant, deployment, traffic, users, seed, factor) for seed in seeds]
            for _, measured in self.runner.run([Run(Key(label, users), scenario) for scenario in scenarios]):
                yield from measured.batches

        return decided(shares, self.study.plan.rounds) is Judgement.PASS


def prove(prober: Prober, place: Place, known: Bracket, limits: list[Limit]) -> Proof | None:
    """The first limit that moving its knob gains something; the likeliest one, unproven, when none does.

    Layers on the host are moved before anything else is worth moving.
    """
    unproven: Proof | None = None
    for limit in limits[: 1 if limits[:1] == ["spill"] else MOST_LIMITS]:
        for move in islice(moves(place, limit), MOST_MOVES):
            after = _moved(prober, place, known, move)
            if after is not None and after > known.passing:
                return Proof(limit, move.change, after, gains=True)
            if after is not None:
                unproven = unproven or Proof(limit, move.change, after, gains=False)
    return unproven


def _moved(prober: Prober, place: Place, known: Bracket, move: Move) -> int | None:
    """The capacity after a move; None where nobody knows the times of what it makes."""
    try:
        row = Prepared(move.variant, compose.deploy(move.variant))
        return prober.more(row, f"{place.variant.id} {move.change}", known)
    except SimctlError:
        return None


def band(prober: Prober, row: Prepared, known: Bracket) -> tuple[int, int] | None:
    """The capacities at the slow and at the fast end of the band of step times; None where nobody knows it."""
    assert row.deployment is not None
    if known.failing is None:
        return None
    fast, slow = compose.step_band(row.variant, row.deployment)
    if (fast, slow) == (1.0, 1.0):
        return None
    low, high = (
        prober.capacity(row, f"{row.variant.id} with steps x {factor:.4g}", known, factor) for factor in (slow, fast)
    )
    return min(low, known.passing), max(high, known.passing)
