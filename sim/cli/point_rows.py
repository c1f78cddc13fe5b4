"""A load's measurements as they are published."""

from collections.abc import Sequence

from reports.document import Distribution, Estimate, Level, Outcomes, Point, Queueing, TtftBreakdown, Waste
from sim.cause import binding
from sim.cli.step_parts import step_shares
from sim.cli.study import Study
from sim.cli.trust import trust
from sim.judging import interval
from sim.merging import merge
from sim.metrics import PointMetrics
from sim.percentiles import Stats
from sim.runner import Key
from sim.stability import falls_behind
from workloads.arrivals import TRACE


def point_row(study: Study, key: Key, seeds: Sequence[PointMetrics]) -> Point:
    """One load of one variant, all seeds together."""
    load, merged = study.traffic.load(key.users), merge(seeds)
    value, low, high = merged.value, merged.low, merged.high
    attained = interval(value.batches)
    unstable = load.open_loop and load.kind != TRACE and behind(value, load.value)
    return Point(
        variant=key.variant,
        load=load.kind,
        users=None if load.open_loop else int(load.value),
        rate=load.value if load.open_loop else None,
        status="unstable" if unstable else "ok",
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
        binding="queue" if unstable else binding(value, study.slo, step_shares(study.row(key.variant), value)),
        judgement=attained.judge().value,
        attainment_low=attained.low,
        attainment_high=attained.high,
        trust=trust(study.row(key.variant), seeds),
    )


def behind(value: PointMetrics, rate: float) -> bool:
    """Whether so many requests a second are more than the server answers."""
    return falls_behind(value.pile_up, value.request_rate, rate)


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
