"""What was found, as the published document."""

from collections.abc import Sequence
from typing import cast

from reports.document import (
    SCHEMA_VERSION,
    Breached,
    Cliff,
    CliffStatus,
    Distribution,
    Document,
    Estimate,
    Level,
    Memory,
    MetricDefinition,
    Outcomes,
    Point,
    Queueing,
    Trust,
    TtftBreakdown,
    VariantRow,
    VariantStatus,
    Waste,
)
from sim import compose
from sim.capacity import bracket
from sim.cli.provenance import provenance, simctl_version
from sim.cli.study import Study, mean_passes, scenario_table
from sim.cli.variants import Prepared
from sim.definitions import METRIC_DEFINITIONS
from sim.engine import MemoryPlan
from sim.errors import DoesNotFit
from sim.hardware import GIB
from sim.merging import merge
from sim.metrics import PointMetrics
from sim.percentiles import Stats
from sim.sweep import Findings, Key

PAUSE_S = 20.0  # between two messages of a person, where the load itself has no think time
STABLE_SHARE = 0.9  # an open-loop server that answers less of what arrives is falling behind

Seeds = Sequence[PointMetrics]


def document(study: Study, findings: Findings[PointMetrics]) -> Document:
    """Everything that the study found."""
    points = sorted(findings.points.items(), key=lambda item: _place(study, item[0]))
    return Document(
        schema_version=SCHEMA_VERSION,
        simctl=simctl_version(),
        scenario=scenario_table(study),
        metric_definitions={name: MetricDefinition(*parts) for name, parts in METRIC_DEFINITIONS.items()},
        variants=tuple(_variant_row(row) for row in study.rows),
        points=tuple(_point(study, key, seeds) for key, seeds in points),
        cliffs=tuple(_cliff(study, row, findings) for row in study.rows) if study.by_users else (),
        warnings=tuple(_warnings(study, findings)),
        provenance=provenance([compose.machine(row.variant) for row in study.rows]),
    )


def _place(study: Study, key: Key) -> tuple[int, int]:
    return [row.variant.id for row in study.rows].index(key.variant), key.users or 0


# -- variants


def _variant_row(row: Prepared) -> VariantRow:
    variant, deployment = row.variant, row.deployment
    status: VariantStatus = "ok"
    if row.error is not None:
        status = "does_not_fit" if isinstance(row.error, DoesNotFit) else "not_supported"
    weights = variant.weights or compose.default_weights(variant.engine)
    return VariantRow(
        id=variant.id,
        engine=variant.engine,
        version=deployment.version if deployment else variant.version or compose.engine(variant.engine).VERSIONS[-1],
        weights=deployment.traits.weights if deployment else weights,
        options=dict(deployment.options if deployment else variant.options),
        gpu=compose.machine(variant)[0].id,
        gpus=variant.gpus,
        replicas=variant.replicas,
        status=status,
        reason=str(row.error) if row.error else None,
        missing_gib=row.error.missing_bytes / GIB if isinstance(row.error, DoesNotFit) else None,
        memory=_memory(deployment.memory) if deployment else None,
        trust=_trust(row),
        profile=variant.step_table or compose.PROFILE,
    )


def _trust(row: Prepared) -> Trust | None:
    if row.deployment is None:
        return None
    return cast(Trust, compose.step_cost(row.variant, row.deployment).trust)


def _memory(plan: MemoryPlan) -> Memory:
    return Memory(
        weights_gib=plan.weight_bytes / GIB,
        kv_gib=plan.kv_bytes / GIB,
        scratch_gib=plan.scratch_bytes / GIB,
        kv_tokens=plan.kv_tokens,
        blocks=plan.blocks,
        slots=plan.slots,
        context=plan.context,
        layers_on_host=plan.layers_on_host,
    )


# -- points


def _point(study: Study, key: Key, seeds: Seeds) -> Point:
    load, merged = study.traffic.load(key.users), merge(seeds)
    value, low, high = merged.value, merged.low, merged.high
    behind = load.open_loop and value.request_rate < STABLE_SHARE * load.value
    return Point(
        variant=key.variant,
        load=load.kind,
        users=None if load.open_loop else int(load.value),
        rate=load.value if load.open_loop else None,
        status="unstable" if behind else "ok",
        window_s=value.window_s,
        seeds=merged.seeds,
        requests=value.requests,
        outcomes=Outcomes(**{end.value: count for end, count in value.outcomes.items()}),
        attainment=value.attainment,
        output_tps=Estimate(value.output_tps, low.output_tps, high.output_tps),
        request_rate=value.request_rate,
        ttft_ms=_distribution(value.ttft, low.ttft, high.ttft),
        tpot_ms=_distribution(value.tpot, low.tpot, high.tpot),
        itl_ms=_distribution(value.itl, low.itl, high.itl),
        stall_ms=_distribution(value.stall, low.stall, high.stall),
        e2e_ms=_distribution(value.e2e, low.e2e, high.e2e),
        queue_ms=Queueing(value.queue.front, value.queue.engine) if value.queue else Queueing(None, None),
        ttft_breakdown_ms=_breakdown(value),
        running=Level(value.running.mean, high.running.max),
        waiting=Level(value.waiting.mean, high.waiting.max),
        kv_used=Level(value.kv.used.mean, high.kv.used.max) if value.kv and high.kv else Level(None, None),
        kv_waste=_waste(value),
        preemptions=value.preemptions,
        binding=None,
    )


def _distribution(value: Stats | None, low: Stats | None, high: Stats | None) -> Distribution:
    if value is None or low is None or high is None:
        return Distribution(None, None, None, None, None, None, None, samples=0)
    figures = (value.mean, value.p50, value.p90, value.p95, value.p99)
    return Distribution(*figures, low.p99, high.p99, value.samples)


def _breakdown(value: PointMetrics) -> TtftBreakdown:
    parts = value.ttft_breakdown
    return TtftBreakdown(**{name: getattr(parts, name, None) for name in TtftBreakdown.__slots__})


def _waste(value: PointMetrics) -> Waste:
    return Waste(value.kv.reserved, value.kv.internal, value.kv.external) if value.kv else Waste(None, None, None)


# -- cliffs


def _cliff(study: Study, row: Prepared, findings: Findings[PointMetrics]) -> Cliff:
    points = findings.of(row.variant.id)
    found = bracket({users: mean_passes(seeds) for users, seeds in points.items()})
    status: CliffStatus = "none" if not found.passing else "not_reached" if found.failing is None else "found"
    return Cliff(
        variant=row.variant.id,
        status=status,
        capacity_users=found.passing if found.passing or found.failing == 1 else None,
        first_failing_users=found.failing,
        low=None,
        high=None,
        people=_people(study, found.passing, points[found.passing]) if found.passing else None,
        breached=_breached(points[found.failing]) if found.failing is not None else None,
        cliff=None,
        stability_rate=None,
        memory_cliff_slots=None,
        cause=None,
        knob=None,
        counterfactual=None,
        trust=_trust(row),
    )


def _people(study: Study, users: int, seeds: Seeds) -> int | None:
    """Streams kept in flight as people who pause between messages, by Little's law."""
    if study.traffic.load(users).kind != "closed":
        return None
    if study.traffic.think.mean_s > 0:
        return users
    answers = merge(seeds).value.e2e
    return round(users * (1 + PAUSE_S * 1000 / answers.mean)) if answers else None


def _breached(seeds: Seeds) -> Breached | None:
    """The bound that most requests break."""
    names: tuple[Breached, ...] = ("ttft", "tpot", "e2e", "stall", "finished")
    total = merge(seeds).value.breaches
    counts: dict[Breached, int] = {name: getattr(total, name) for name in names}
    worst = max(names, key=lambda name: counts[name])
    return worst if counts[worst] else None


# -- warnings


def _warnings(study: Study, findings: Findings[PointMetrics]) -> list[str]:
    """Facts that change what the numbers are worth."""
    told = ["interrupted: only the points that were complete are here"] if findings.interrupted else []
    for row in study.rows:
        if row.deployment is not None:
            told += [f"{row.variant.id}: {warning}" for warning in row.deployment.warnings]
            if row.deployment.scheduler.clairvoyant:
                told.append(f"{row.variant.id}: its scheduler reads the true output length, which no real engine knows")
    for key, seeds in findings.points.items():
        if unanswered := sum(point.unanswered for point in seeds):
            told.append(f"{key.variant} at {key.users or study.flags.load}: {unanswered} requests never got an answer")
    return told
