"""What is worked out about a variant once its loads are run: the bracket, what gives way, why, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sim.capacity import Bracket, judged_bracket
from sim.cause import Account, Bound, Limit, StepShares, account, candidates, refusals, service
from sim.cli.place import Place
from sim.cli.proving import Prober, Proof, band, prove
from sim.cli.step_parts import step_shares
from sim.cli.study import Study
from sim.cli.variants import Prepared
from sim.merging import judge, merge
from sim.metrics import PointMetrics
from sim.request import End
from sim.runner import Runner

REFUSED: Mapping[Limit, str] = {
    "queue": "turned away",
    "context": "too long for the context",
    "kv_blocks": "without room in memory",
}
GIVEN_UP = {End.TIMED_OUT: "timed out", End.ABORTED: "aborted"}

Seeds = Sequence[PointMetrics]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A variant's capacity and everything that is said about it."""

    bracket: Bracket
    breached: Bound | None = None
    account: Account | None = None  # of the time behind the bound that breaks
    service: Account | None = None  # of the time that an answer takes once it is begun
    limits: tuple[Limit, ...] = ()  # that may be the cause, the likeliest first
    lost: str | None = None  # how many requests got no answer, where that is what breaks
    band: tuple[int, int] | None = None
    proof: Proof | None = None

    @property
    def cause(self) -> Limit | None:
        """The limit whose knob gains something, or the likeliest one."""
        if self.proof is not None:
            return self.proof.limit
        return self.limits[0] if self.limits else None


@dataclass
class Explainer:
    """Explains the variants of a study, first from what has been run, then by further runs."""

    study: Study
    runner: Runner[PointMetrics]
    found: dict[str, Explanation] = field(default_factory=dict)

    def explain(self, row: Prepared, points: Mapping[int, Seeds]) -> Explanation:
        """What the points say, and the band around it."""
        bracket = judged_bracket({users: judge(list(seeds)) for users, seeds in points.items()})
        told = Explanation(bracket)
        if bracket.failing is not None:
            told = failure(row, bracket, points[bracket.failing])
        self.found[row.variant.id] = told
        if bracket.narrow or self.study.plan.refine:
            told = replace(told, band=band(self._prober, row, bracket))
            self.found[row.variant.id] = told
        return told

    def prove(self, row: Prepared) -> Explanation:
        """The cause, confirmed by moving its knob."""
        told = self.found[row.variant.id]
        if told.breached is None or row.deployment is None:
            return told
        place = Place(row.variant, row.deployment, told.breached, self.study.traffic.longest_tokens())
        told = replace(told, proof=prove(self._prober, place, told.bracket, list(told.limits)))
        self.found[row.variant.id] = told
        return told

    @property
    def _prober(self) -> Prober:
        return Prober(self.study, self.runner)


def failure(row: Prepared, bracket: Bracket, seeds: Seeds) -> Explanation:
    """What gives way at the first failing load."""
    metrics = merge(seeds).value
    breached = most_broken(metrics)
    if breached is None:
        return Explanation(bracket)
    step: StepShares = step_shares(row, metrics)
    limits = tuple(candidates(metrics, breached, step))
    lost = _lost(metrics) if breached == "finished" else None
    return Explanation(bracket, breached, account(metrics, breached, step), service(metrics, step), limits, lost)


def most_broken(metrics: PointMetrics) -> Bound | None:
    """The bound that most requests break; who gets no answer breaks others too, but that is what counts then."""
    names: tuple[Bound, ...] = ("ttft", "tpot", "e2e", "stall", "finished")
    worst = max(names, key=lambda name: getattr(metrics.breaches, name))
    most = getattr(metrics.breaches, worst)
    if not most:
        return None
    return "finished" if 2 * metrics.breaches.finished >= most else worst


def _lost(metrics: PointMetrics) -> str:
    """`120 of 400: 100 too long for the context, 20 timed out`."""
    refused = {REFUSED[limit]: count for limit, count in refusals(metrics).items()}
    given_up = {words: metrics.outcomes[end] for end, words in GIVEN_UP.items()}
    told = [f"{count} {words}" for words, count in (refused | given_up).items() if count]
    return f"{metrics.breaches.finished} of {metrics.requests}: {', '.join(told)}"
