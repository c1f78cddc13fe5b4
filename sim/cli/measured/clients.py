"""Who sent a measurement's requests: how long they were, and what lay between the clients and the engine."""

from calibration import sources
from calibration.points import Point
from calibration.sources import Source
from sim.cli.measured.server import engine_of
from sim.workload import Workload
from workloads.distributions import Fixed, Lengths, Uniform
from workloads.remote import Remote
from workloads.think import ExponentialThink, FixedThink

USUAL_SHARES = (0.9, 1.1)  # of the mean length in closed loops whose source does not say: equal users stay in step
# From a client to vLLM's engine: HTTP, template, tokenizer, messages between processes. This mean fits the TTFT of
# nvidia-silicon's dense model best; the recorded servers on a processor take 6 ms of it, without a network.
FRONT_END_S = 0.010


def shares(point: Point) -> tuple[float, float] | None:
    """Between which shares of the stated lengths the source's requests lie, if it says so."""
    source = _source(point)
    return None if source is None else source.shares


def lengths(point: Point, tokens: int) -> Lengths:
    """The lengths of a closed loop's requests."""
    least, most = (max(1, round(share * tokens)) for share in shares(point) or USUAL_SHARES)
    return Uniform(least, most) if least < most else Fixed(tokens)


def come_by_http(point: Point) -> bool:
    """Whether a client timed requests to vLLM's server; llama.cpp's takes about a millisecond for all that."""
    source = _source(point)
    timed_inside = source is not None and source.clock == sources.ENGINE
    return engine_of(point) == "vllm" and point.load != "offline" and not timed_inside


def behind_front_end(workload: Workload) -> Workload:
    """The load with vLLM's front end before the engine: one request takes the mean, several are soon out of step."""
    alone = workload.requests == 1
    return Remote(workload, FixedThink(FRONT_END_S) if alone else ExponentialThink(FRONT_END_S))


def _source(point: Point) -> Source | None:
    return sources.sources().get(point.source_id)
