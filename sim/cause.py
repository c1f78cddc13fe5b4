"""Which limit a load runs into: the shares of time that its run is owed to, ranked for the bound that gives way."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from sim.blame import Shares
from sim.judging import TARGET
from sim.metrics import PointMetrics
from sim.request import End
from sim.slo import Slo

Limit = Literal["context", "kv_blocks", "seq_slots", "prefill_budget", "decode_rate", "spill", "host_overhead", "queue"]
Bound = Literal["ttft", "tpot", "e2e", "stall", "finished"]

LEAST_SHARE = 0.05  # of the time of a metric, for a limit to be named at all
SPILL_SHARE = 1 / 3  # of a decode step spent on the host: then nothing else is worth moving first
WAITS: tuple[Limit, ...] = ("seq_slots", "kv_blocks", "queue")
NEAR_BOUND = 0.5  # of the SLO: below it nothing binds


@dataclass(frozen=True, slots=True)
class StepShares:
    """Shares of the average decode step: the host's own work between steps, and layers that lie on the host."""

    host: float = 0.0
    spill: float = 0.0


@dataclass(frozen=True, slots=True)
class Owed:
    """Seconds that a metric owes to a limit."""

    limit: Limit
    seconds: float


@dataclass(frozen=True, slots=True)
class Account:
    """A metric's time by the limits that it is owed to, the largest first."""

    bound: Bound
    owed: tuple[Owed, ...]

    @property
    def total_s(self) -> float:
        """All of it."""
        return sum(each.seconds for each in self.owed)

    def seconds(self, limit: Limit) -> float:
        """What is owed to one limit."""
        return sum(each.seconds for each in self.owed if each.limit == limit)


def nearest_bound(metrics: PointMetrics, slo: Slo) -> tuple[Bound, float] | None:
    """The bound that the 95th percentile comes nearest to, or exceeds most, and its share of that bound."""
    named: tuple[Bound, ...] = ("ttft", "tpot", "e2e", "stall")
    ratios: list[tuple[Bound, float]] = []
    for name in named:
        limit_s, stats = getattr(slo, f"{name}_s"), getattr(metrics, name)
        if limit_s and stats is not None:
            ratios.append((name, stats.p95 / 1000 / limit_s))
    return max(ratios, key=lambda pair: pair[1], default=None)


def account(metrics: PointMetrics, bound: Bound, step: StepShares) -> Account:
    """What the time behind a bound was spent on."""
    first, token = metrics.blame.first_token, metrics.blame.token
    if bound in ("ttft", "finished"):
        return Account(bound, _ranked(first, step))
    if bound == "e2e":
        return Account(bound, _ranked(first.plus(token.times(_tokens(metrics))), step))
    if bound == "stall" and token.prefill_budget + token.kv_blocks > 0:  # a stall is no ordinary step
        return Account(bound, _ranked(replace(token, decode_rate=0.0), step))
    return Account(bound, _ranked(token, step))


def _tokens(metrics: PointMetrics) -> float:
    """How many tokens the average answer decodes."""
    if metrics.e2e is None or metrics.ttft is None or metrics.tpot is None or not metrics.tpot.mean:
        return 0.0
    return max(0.0, metrics.e2e.mean - metrics.ttft.mean) / metrics.tpot.mean


def _ranked(shares: Shares, step: StepShares) -> tuple[Owed, ...]:
    """Decoding is divided into the host's work, layers on the host, and what the GPU does."""
    seconds: dict[Limit, float] = {field.name: getattr(shares, field.name) for field in fields(shares)}  # type: ignore[misc]
    decode = seconds["decode_rate"]
    seconds["host_overhead"], seconds["spill"] = decode * step.host, decode * step.spill
    seconds["decode_rate"] = decode * max(0.0, 1 - step.host - step.spill)
    owed = [Owed(limit, amount) for limit, amount in seconds.items() if amount > 0]
    return tuple(sorted(owed, key=lambda each: -each.seconds))


def candidates(metrics: PointMetrics, bound: Bound, step: StepShares) -> list[Limit]:
    """The limits that may be the cause, the likeliest first.

    Who waits for a place or for memory waits for those inside to be served, so what service is owed to follows.
    """
    found: list[Limit] = []
    if step.spill >= SPILL_SHARE:
        found.append("spill")
    if bound == "finished":
        found += refusals(metrics)
    felt = _named(account(metrics, bound, step))
    if felt and felt[0] in WAITS:
        felt[1:] = _named(service(metrics, step))
    return list(dict.fromkeys([*found, *felt]))


def _named(seen: Account) -> list[Limit]:
    return [owed.limit for owed in seen.owed if owed.seconds >= LEAST_SHARE * seen.total_s]


def refusals(metrics: PointMetrics) -> dict[Limit, int]:
    """How many requests were refused at the door, for the length of their prompts, and for want of memory."""
    turned_away = metrics.blame.turned_away
    too_long = metrics.outcomes[End.REJECTED] - turned_away
    counts: dict[Limit, int] = {"queue": turned_away, "context": too_long, "kv_blocks": metrics.outcomes[End.FAILED]}
    return {limit: count for limit, count in counts.items() if count > 0}


def _lost(metrics: PointMetrics) -> int:
    """Requests for which the engine had no room at all."""
    return metrics.outcomes[End.REJECTED] + metrics.outcomes[End.FAILED]


def service(metrics: PointMetrics, step: StepShares) -> Account:
    """An answer's time without the waits before it."""
    first = metrics.blame.first_token
    own = Shares(prefill_budget=first.prefill_budget, decode_rate=first.decode_rate)
    return Account("e2e", _ranked(own.plus(metrics.blame.token.times(_tokens(metrics))), step))


def binding(metrics: PointMetrics, slo: Slo, step: StepShares) -> Limit | None:
    """The limit that a load feels most; None as long as every latency is far below its bound."""
    if _lost(metrics) > (1 - TARGET) * metrics.requests:
        return next(iter(candidates(metrics, "finished", step)), None)
    nearest = nearest_bound(metrics, slo)
    if nearest is None or nearest[1] < NEAR_BOUND:
        return None
    return next(iter(candidates(metrics, nearest[0], step)), None)
