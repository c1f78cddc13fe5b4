"""The simulator where queueing theory knows the answer: Little's law, M/D/1, M/M/1, saturation, conservation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from policies.caches.paged import PagedCache
from policies.caches.reserved import ReservedCache
from policies.schedulers.fcfs import Fcfs
from policies.schedulers.orca import Orca
from policies.schedulers.sarathi import Sarathi
from policies.schedulers.static_batch import StaticBatch
from policies.schedulers.vllm_v1 import VllmV1
from sim.cache import KVCache
from sim.clock import PS_PER_MS, PS_PER_S
from sim.metrics import summarise
from sim.scheduler import Scheduler
from sim.slo import Slo
from sim.token_gaps import token_gaps
from sim.window import Window, emitted_tokens
from tests.serving import StepTimes, Witness, needs_own_columns, serve
from workloads.arrivals import Poisson
from workloads.distributions import Fixed, Lengths, Uniform
from workloads.open_loop import OpenLoop
from workloads.users import ClosedLoop

BATCHES = 30
UNBOUNDED = Fcfs(max_model_len=10**9)
ROOMY = partial(PagedCache, 10**8)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential lengths, in tokens so many that rounding up does not show."""

    mean: float
    text: str = "exponential"

    def draw(self, rng: Generator, n: int) -> NDArray[np.int64]:
        """Whole tokens, at least one."""
        return np.ceil(rng.exponential(self.mean, n)).clip(1).astype(np.int64)


def waits(prompt: Lengths, cost: StepTimes, rate: float, requests: int, seed: int) -> NDArray[np.float64]:
    """Seconds in the queue of one server that takes one request at a time, in order of arrival."""
    load = OpenLoop(Poisson(rate), requests, prompt, Fixed(1))
    log = serve(UNBOUNDED, load, cost, ROOMY, seed=seed).requests
    assert len(log["id"]) == requests
    settled = log["id"] >= requests // 20
    return np.asarray((log["admitted_ps"] - log["arrival_ps"])[settled] / PS_PER_S)


def assert_mean_is(expected: float, samples: NDArray[np.float64]) -> None:
    """Within three standard errors, which batch means give because waits in a row are not independent."""
    means = np.array([batch.mean() for batch in np.array_split(samples, BATCHES)])
    error = means.std(ddof=1) / sqrt(BATCHES)
    assert error < 0.04 * expected, "too noisy to find anything wrong"
    assert abs(samples.mean() - expected) < 3 * error


@pytest.mark.parametrize(("load", "requests"), [(0.3, 16_000), (0.7, 50_000)])
def test_waits_before_a_server_of_fixed_service_time_are_those_of_m_d_1(load: float, requests: int) -> None:
    service_s = 0.010
    samples = waits(Fixed(1), StepTimes(10 * PS_PER_MS), load / service_s, requests, seed=1)
    assert_mean_is(load * service_s / (2 * (1 - load)), samples)


@pytest.mark.parametrize(("load", "requests"), [(0.3, 24_000), (0.6, 60_000)])
def test_waits_before_a_server_of_exponential_service_time_are_those_of_m_m_1(load: float, requests: int) -> None:
    mean_tokens, service_s = 1000, 0.010
    cost = StepTimes(0, prompt_ps=round(service_s * PS_PER_S / mean_tokens))
    samples = waits(Exponential(mean_tokens), cost, load / service_s, requests, seed=1)
    assert_mean_is(load * service_s / (1 - load), samples)


@given(st.floats(5, 80), st.integers(1, 6), st.integers(0, 99))
def test_littles_law_holds_to_the_picosecond_in_a_run_that_starts_and_ends_empty(
    rate: float, places: int, seed: int
) -> None:
    load = OpenLoop(Poisson(rate), 60, Uniform(1, 60), Uniform(1, 20))
    witness = Witness(max_num_seqs=places)
    result = serve(witness, load, StepTimes(5 * PS_PER_MS, cell_ps=1000), seed=seed, stride_limit=1)
    (record,), (steps,) = result.replicas, witness.cores
    # number in the batch, as the steps saw it, over time: every place gets one token a step
    area = sum(len(served) * lasted for served, lasted in zip(steps, record.strides["first_ps"].tolist(), strict=True))
    log = result.requests
    assert area == sum(log["end_ps"].tolist()) - sum(log["admitted_ps"].tolist())


@given(st.floats(5, 80), st.integers(1, 6), st.integers(0, 99))
def test_littles_law_holds_between_the_reported_numbers(rate: float, places: int, seed: int) -> None:
    load = OpenLoop(Poisson(rate), 60, Uniform(1, 60), Uniform(1, 20))
    result = serve(VllmV1(max_num_seqs=places), load, StepTimes(5 * PS_PER_MS, cell_ps=1000), seed=seed)
    metrics = summarise(result, Slo())
    assert metrics.e2e is not None
    assert metrics.queue is not None
    assert metrics.waiting.mean == pytest.approx(metrics.request_rate * metrics.queue.engine / 1000)
    assert metrics.running.mean + metrics.waiting.mean == pytest.approx(metrics.request_rate * metrics.e2e.mean / 1000)
    assert metrics.running.max <= places


@pytest.mark.parametrize("places", [1, 4, 16])
def test_a_saturated_server_gives_one_token_a_step_to_each_place_and_no_more(places: int) -> None:
    step_s, output = 0.010, 50
    load = ClosedLoop(4 * places, 40 * places, Fixed(8), Fixed(output), warmup=4 * places, cooldown=4 * places)
    result = serve(VllmV1(max_num_seqs=places), load, StepTimes(round(step_s * PS_PER_S)))
    metrics = summarise(result, Slo())
    assert metrics.output_tps == pytest.approx(places / step_s, rel=0.01)
    assert metrics.request_rate == pytest.approx(places / step_s / output, rel=0.05)
    assert metrics.running.mean == pytest.approx(places)


@pytest.mark.parametrize("rate", [50.0, 500.0])
def test_no_offered_rate_gets_more_out_of_a_server_than_its_places_and_steps(rate: float) -> None:
    load = OpenLoop(Poisson(rate), 200, Fixed(8), Fixed(20))
    result = serve(VllmV1(max_num_seqs=4), load, StepTimes(10 * PS_PER_MS))
    assert result.requests["end_ps"].max() >= 200 * 20 * 10 * PS_PER_MS / 4


@pytest.mark.parametrize("pipelined", [False, pytest.param(True, marks=needs_own_columns)])
@given(
    st.integers(1, 8),
    st.integers(1, 60).map(lambda most: Uniform(1, most)),
    st.integers(1, 40).map(lambda most: Uniform(1, most)),
    st.sampled_from([8, 14, 1000]),
    st.sampled_from([None, 41]),
    st.integers(1, 2),
)
def test_tokens_that_came_out_are_the_tokens_of_the_answers(
    pipelined: bool, users: int, prompt: Lengths, output: Lengths, blocks: int, limit: int | None, replicas: int
) -> None:
    """In tight memory, with rows computed in vain by a pipeline, behind a router."""
    load = ClosedLoop(users, 30, prompt, output, limit=limit)
    scheduler = VllmV1(max_num_batched_tokens=32, async_scheduling=pipelined)
    result = serve(scheduler, load, StepTimes(cell_ps=1000), partial(PagedCache, blocks), replicas)
    assert len(result.requests["id"]) == 30
    assert emitted_tokens(result, Window(0, result.end_ps)) == result.requests["output_tokens"].sum()


@pytest.mark.parametrize(
    ("scheduler", "cache"),
    [
        (Fcfs(), partial(PagedCache, 10)),
        (StaticBatch(max_batch_size=3), partial(ReservedCache, 300, 100)),
        (StaticBatch(max_batch_size=3, pad_finished=True), partial(ReservedCache, 300, 100)),
        (Orca(max_batch_size=4), partial(ReservedCache, 300, 100)),
        (Sarathi(chunk_size=32, max_num_seqs=4), partial(PagedCache, 10)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Scheduler) else "",
)
def test_no_policy_makes_or_loses_a_token(scheduler: Scheduler, cache: Callable[[], KVCache]) -> None:
    load = ClosedLoop(7, 60, Uniform(1, 60), Uniform(1, 40))
    result = serve(scheduler, load, StepTimes(cell_ps=1000), cache)
    tokens = result.requests["output_tokens"]
    everything = Window(0, result.end_ps)
    assert emitted_tokens(result, everything) == tokens.sum()
    assert token_gaps(result, everything).count == (tokens - 1).sum()
