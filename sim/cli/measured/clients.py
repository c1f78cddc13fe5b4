"""Who sent a measurement's requests: how long they were, and what lay between the clients and the engine."""

import re

from calibration import sources
from calibration.points import Point
from calibration.sources import Source
from sim.cli.measured.server import engine_of
from sim.workload import Workload
from workloads.distributions import Fixed, Lengths, Lognormal, Uniform
from workloads.front_end import FrontEnd
from workloads.remote import Remote
from workloads.think import ExponentialThink, FixedThink

USUAL_SHARES = (0.9, 1.1)  # of the mean length in closed loops whose source does not say: equal users stay in step
# ShareGPT's conversations as vLLM's benchmark takes them: 1,024 tokens of prompt at the most, 2,048 with the answer. Of
# their means, prompts vary by 0.9 (sarathi-serve at 72339db, the short ones) to 1.8 (first turns), answers by 0.6 to 1.
CONVERSATIONS = re.compile("sharegpt", re.IGNORECASE)
CONVERSATIONS_VARY = 1.0
LONGEST_OF_CONVERSATIONS = 1024
# From a client to vLLM's engine, for a lone prompt: network, HTTP, tokenizer, messages between processes. It fits the
# TTFT of nvidia-silicon's dense model best; the recorded servers on a processor take 6 ms of it, without a network.
FRONT_END_S = 0.010
# What one thread of the front end does for a request, while others wait. For a prompt: how much later the last of 32
# requests is taken in than a lone one (our own recording of 0.32 on a processor, a client beside it). For a chat, with
# template and tokenizer: it fits the first tokens of 16 to 128 users whose prompts were in the cache (0.25.1, mean and
# p99 of violet-quartz/vllm-serving-experiments at 75148b6, vllm_bench_serve/run5; those runs are no rows here).
PROMPT_WORK_S = 0.0012
CHAT_WORK_S = 0.0042
WAY_S = FRONT_END_S - PROMPT_WORK_S  # what is left takes no thread's time


def shares(point: Point) -> tuple[float, float] | None:
    """Between which shares of the stated lengths the source's requests lie, if it says so."""
    source = _source(point)
    return None if source is None else source.shares


def lengths(point: Point, tokens: int) -> Lengths:
    """The lengths of a measurement's requests about their mean."""
    if are_conversations(point):
        return Lognormal.from_mean_cv(tokens, CONVERSATIONS_VARY, max(LONGEST_OF_CONVERSATIONS, tokens))
    stated = shares(point) or (USUAL_SHARES if point.load == "closed" else (1.0, 1.0))
    least, most = (max(1, round(share * tokens)) for share in stated)
    return Uniform(least, most) if least < most else Fixed(tokens)


def are_conversations(point: Point) -> bool:
    """Whether the requests were ShareGPT's, of which the stated lengths are the means."""
    return point.load not in ("single", "offline") and bool(CONVERSATIONS.search(point.notes))


def come_by_http(point: Point) -> bool:
    """Whether a client timed requests to vLLM's server; llama.cpp's takes about a millisecond for all that."""
    source = _source(point)
    timed_inside = source is not None and source.clock == sources.ENGINE
    return engine_of(point) == "vllm" and point.load != "offline" and not timed_inside


def front_end_work_s(point: Point) -> float:
    """How long the front end is busy with one of the measurement's requests."""
    source = _source(point)
    return CHAT_WORK_S if source is not None and source.endpoint == sources.CHAT else PROMPT_WORK_S


def behind_front_end(workload: Workload, work_s: float) -> Workload:
    """The load with vLLM's front end before the engine: one request takes the mean, several are soon out of step."""
    alone = workload.requests == 1
    return FrontEnd(Remote(workload, FixedThink(WAY_S) if alone else ExponentialThink(WAY_S)), work_s)


def _source(point: Point) -> Source | None:
    return sources.sources().get(point.source_id)
