"""What a run amounts to: every number that is reported, as a pure function of what happened."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.blame import Blame, blame
from sim.clock import PS_PER_MS, PS_PER_S
from sim.journal import ENDS, Columns
from sim.judging import batches
from sim.latency import Latencies, answered_rows, latencies, ttft_parts
from sim.occupancy import KvShares, Level, kv_shares, running, waiting
from sim.percentiles import Stats, stats_of
from sim.request import End
from sim.scenario import Result
from sim.slo import Slo, breaches, meets
from sim.stability import pile_up
from sim.token_gaps import token_gaps
from sim.window import Window, emitted_tokens, measured_rows, measured_window

_PER_PS = 1 / PS_PER_MS  # picoseconds and seconds in milliseconds
_PER_S = PS_PER_S / PS_PER_MS


@dataclass(frozen=True, slots=True)
class QueueMeans:
    """Mean wait before the engine and inside its own queue, in milliseconds."""

    front: float
    engine: float


@dataclass(frozen=True, slots=True)
class TtftBreakdown:
    """The mean time to the first token by what it was spent on, in milliseconds; the parts sum to the mean."""

    front_door: float
    queue: float
    own_prefill: float
    others_prefill: float
    decode: float
    preemption: float
    spill: float


@dataclass(frozen=True, slots=True)
class Breaches:
    """How many of the attempted requests break each predicate."""

    ttft: int
    tpot: int
    e2e: int
    stall: int
    finished: int


@dataclass(frozen=True, slots=True)
class PointMetrics:
    """One load on one deployment. Counts are whole numbers; what nothing was measured for is None."""

    window_s: float
    requests: int  # attempted: those that ended and those that got no answer
    outcomes: dict[End, int]
    unanswered: int
    met: int  # kept every predicate
    breaches: Breaches
    attainment: float | None
    goodput: float  # per second
    output_tps: float
    completed_tps: float
    request_rate: float  # per second
    ttft: Stats | None  # milliseconds, as all that follow
    tpot: Stats | None
    itl: Stats | None
    stall: Stats | None
    e2e: Stats | None
    queue: QueueMeans | None
    ttft_breakdown: TtftBreakdown | None
    running: Level
    waiting: Level
    kv: KvShares | None
    preemptions: int
    batches: tuple[float, ...] = ()  # the attainment of consecutive requests, in a few equal batches
    blame: Blame = field(default_factory=Blame)
    pile_up: tuple[float, ...] = ()  # shares of the arrivals that stay, in consecutive parts of the window
    extrapolated: int = 0  # 1 where a step lay outside what step times were measured for; merged, how many seeds


def summarise(result: Result, slo: Slo) -> PointMetrics:
    """All numbers of one run."""
    window, rows = measured_window(result), measured_rows(result)
    log = {name: column[rows] for name, column in result.requests.items()}
    measured = latencies(result).of(rows)
    unanswered = _unanswered(result)
    attempted = len(log["id"]) + unanswered
    met = int(meets(slo, measured).sum())
    completed = answered_rows(result.requests) & window.holds(result.requests["end_ps"])
    return PointMetrics(
        window_s=window.seconds,
        requests=attempted,
        outcomes={end: int((log["end"] == number).sum()) for number, end in enumerate(ENDS)},
        unanswered=unanswered,
        met=met,
        breaches=_count_breaches(slo, breaches(slo, measured), unanswered),
        attainment=met / attempted if attempted else None,
        goodput=_rate(met, window),
        output_tps=_rate(emitted_tokens(result, window), window),
        completed_tps=_rate(int(result.requests["output_tokens"][completed].sum()), window),
        request_rate=_rate(int(completed.sum()), window),
        ttft=stats_of(measured.ttft_s, _PER_S),
        tpot=stats_of(measured.tpot_s, _PER_S),
        itl=token_gaps(result, window).stats(_PER_PS),
        stall=stats_of(measured.stall_s, _PER_S),
        e2e=stats_of(measured.e2e_s, _PER_S),
        queue=_queue(measured.front_s, measured.engine_s),
        ttft_breakdown=_breakdown(log),
        running=running(result.requests, window),
        waiting=waiting(result.requests, window),
        kv=kv_shares(result.replicas, window),
        preemptions=int(log["preemptions"].sum()),
        batches=batches(_marks(slo, measured, unanswered)),
        blame=blame(result, rows, window),
        pile_up=pile_up(result.requests, window),
        extrapolated=int(result.scenario.cost.trust == "extrapolated"),
    )


def _marks(slo: Slo, measured: Latencies, unanswered: int) -> NDArray[np.bool_]:
    """Which requests kept the SLO; who got no answer stands at the end."""
    return np.concatenate((meets(slo, measured), np.zeros(unanswered, np.bool_)))


def _rate(count: int, window: Window) -> float:
    return count / window.seconds if window.seconds > 0 else 0.0


def _unanswered(result: Result) -> int:
    """Requests that count, were sent and never ended: numbers are given in the order of sending."""
    load = result.scenario.workload
    missing = np.setdiff1d(np.arange(load.requests), result.requests["id"])[: result.unanswered]
    return int(((missing >= load.warmup) & (missing < load.requests - load.cooldown)).sum())


def _count_breaches(slo: Slo, broken: dict[str, NDArray[np.bool_]], unanswered: int) -> Breaches:
    """Who got no answer has broken what can be broken by waiting."""
    counts = {name: int(rows.sum()) for name, rows in broken.items()}
    counts["finished"] += unanswered
    counts["ttft"] += unanswered * (slo.ttft_s is not None)
    counts["e2e"] += unanswered * (slo.e2e_s is not None)
    return Breaches(**counts)


def _queue(front_s: NDArray[np.float64], engine_s: NDArray[np.float64]) -> QueueMeans | None:
    front, engine = stats_of(front_s, _PER_S), stats_of(engine_s, _PER_S)
    return QueueMeans(front.mean, engine.mean) if front and engine else None


def _breakdown(log: Columns) -> TtftBreakdown | None:
    parts = ttft_parts(log)
    if not len(parts["queue"]):
        return None
    return TtftBreakdown(**{name: float((times * _PER_PS).mean()) for name, times in parts.items()})
