"""A variant's cliff as it is published."""

from collections.abc import Mapping, Sequence

from reports.document import Cliff, CliffStatus, Counterfactual, SteepRise, Trust
from sim.cause import Limit
from sim.cli.explained import Explanation
from sim.cli.memory_cliff import memory_cliff_slots
from sim.cli.reasons import reason
from sim.cli.study import Study
from sim.cli.variants import Prepared
from sim.merging import merge
from sim.metrics import PointMetrics
from sim.steepness import steepest_rise

PAUSE_S = 20.0  # between two messages of a person, where the load itself has no think time
MS = 1000

Points = Mapping[int, Sequence[PointMetrics]]


def cliff_row(
    study: Study,
    row: Prepared,
    points: Points,
    told: Explanation | None,
    stability_rate: float | None,
    trust: Trust | None,
) -> Cliff:
    """Everything that is known of where a variant gives way."""
    passing, failing = (0, None) if told is None else (told.bracket.passing, told.bracket.failing)
    status: CliffStatus = "none" if not passing else "not_reached" if failing is None else "found"
    proof = told.proof if told else None
    rise = steepest_rise(_waits(points))
    return Cliff(
        variant=row.variant.id,
        status=status,
        capacity_users=passing if passing or failing == 1 else None,
        first_failing_users=failing,
        low=told.band[0] if told and told.band else None,
        high=told.band[1] if told and told.band else None,
        people=_people(study, passing, points[passing]) if passing else None,
        breached=told.breached if told else None,
        cliff=SteepRise(rise.first, rise.last, rise.height) if rise else None,
        stability_rate=stability_rate,
        memory_cliff_slots=memory_cliff_slots(row),
        cause=told.cause if told else _overrun(study, stability_rate),
        knob=proof.change if proof else None,
        counterfactual=Counterfactual(proof.change, proof.capacity) if proof and proof.gains else None,
        trust=trust,
        reason=reason(row, told) if told else None,
    )


def _overrun(study: Study, stability_rate: float | None) -> Limit | None:
    """More arrives than is served: the queue grows whatever else is short."""
    overrun = stability_rate is not None and study.traffic.load(None).value > stability_rate
    return "queue" if overrun else None


def _waits(points: Points) -> dict[int, float]:
    merged = {users: merge(seeds).value.ttft for users, seeds in points.items()}
    return {users: ttft.p99 for users, ttft in merged.items() if ttft is not None}


def _people(study: Study, users: int, seeds: Sequence[PointMetrics]) -> int | None:
    """Streams kept in flight as people who pause between messages, by Little's law."""
    if study.traffic.load(users).kind != "closed":
        return None
    if study.traffic.think.mean_s > 0:
        return users
    answers = merge(seeds).value.e2e
    return round(users * (1 + PAUSE_S * MS / answers.mean)) if answers else None
