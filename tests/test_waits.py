"""What a waiting request waits for is told from the journal as whoever saw every step would tell it."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.caches.paged import PagedCache
from policies.schedulers.vllm_v1 import VllmV1
from sim.batch import Batch
from sim.scenario import Result
from sim.waits import Clocks, clocks
from sim.window import stride_ends
from tests.serving import StepTimes, serve
from workloads.distributions import Uniform
from workloads.users import ClosedLoop

CLOCKS = ("slots", "memory", "prompts", "tight", "idle")
STEP = StepTimes(prompt_ps=10**6, row_ps=10**7)
SEATS = 4


@dataclass
class Watched(VllmV1):
    """Writes down after each decision how many are in the batch, and how many were put out of it."""

    seen: list[tuple[int, int]] = field(default_factory=list)

    def schedule(self) -> Batch | None:
        """As vLLM does, under observation."""
        batch = super().schedule()
        if batch is not None and batch.passes:
            self.seen.append((len(self.running), sum(request.preemptions > 0 for request in self.waiting)))
        return batch


def watched(blocks: int, seed: int, users: int = 7, **options: Any) -> tuple[Result, Clocks, list[tuple[int, int]]]:
    """A run step by step, its clocks, and what the policy saw at each step."""
    scheduler = Watched(max_num_seqs=SEATS, **options)
    load = ClosedLoop(users, 60, Uniform(4, 40), Uniform(2, 60))
    result = serve(scheduler, load, STEP, partial(PagedCache, blocks, 4), seed=seed, stride_limit=1)
    (record,) = result.replicas
    return result, clocks(result.requests, record, SEATS), scheduler.seen


def steps_of(result: Result) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each step began and ended."""
    (record,) = result.replicas
    return record.strides["start_ps"], stride_ends(record.strides)


@pytest.mark.parametrize("blocks", [30, 40, 60, 1000])
def test_places_are_taken_exactly_while_as_many_as_there_are_places_are_in_the_batch(blocks: int) -> None:
    for seed in range(5):
        result, waits, seen = watched(blocks, seed)
        start, end = steps_of(result)
        full = np.array([running == SEATS for running, _ in seen])
        assert (waits.between("slots", start, end) == full * (end - start)).all()


@pytest.mark.parametrize("blocks", [30, 40])
def test_while_a_preempted_request_waits_and_places_are_free_memory_is_what_is_short(blocks: int) -> None:
    for seed in range(5):
        result, waits, seen = watched(blocks, seed)
        start, end = steps_of(result)
        held_up = np.array([running < SEATS and preempted > 0 for running, preempted in seen])
        assert held_up.any()
        assert (waits.between("memory", start, end)[held_up] == (end - start)[held_up]).all()


@pytest.mark.parametrize("blocks", [30, 1000])
def test_at_every_instant_one_thing_is_short_or_nothing(blocks: int) -> None:
    result, waits, _ = watched(blocks, 0)
    start, end = steps_of(result)
    passed = np.sum([waits.between(name, start, end) for name in CLOCKS], axis=0)
    assert (passed == end - start).all()
    assert (waits.between("idle", np.array([0]), np.array([0])) == 0).all()


@pytest.mark.parametrize("gate", [False, True])
def test_prompts_in_pieces_blur_it_by_a_few_steps(gate: bool) -> None:
    """A request may be put out before its first token and comes back piece by piece; the journal has only how long."""
    for seed in range(5):
        result, waits, seen = watched(40, seed, max_num_batched_tokens=16, scheduler_reserve_full_isl=gate)
        start, end = steps_of(result)
        full = np.array([running == SEATS for running, _ in seen])
        assert (result.requests["preemption_ps"] > 0).any()
        share = (full * (end - start)).sum() / (end - start).sum()
        assert waits.between("slots", start, end).sum() / (end - start).sum() == pytest.approx(share, abs=0.05)


def test_who_sits_a_step_out_keeps_the_place() -> None:
    """Without preemptions the gaps between tokens are pauses."""
    result, waits, _ = watched(1000, 0)
    (record,) = result.replicas
    ends = record.strides["start_ps"][50:60]
    gaps = {"end_ps": ends, "gap_ps": np.full(10, 10 * STEP.step_ps)}
    start, end = steps_of(result)
    put_out, paused = (
        clocks(result.requests, replace(record, gaps=gaps, preemptions=count), SEATS).between("slots", start, end)
        for count in (10, 0)
    )
    usual = waits.between("slots", start, end)
    assert (paused == usual).all()
    assert put_out.sum() < usual.sum()
