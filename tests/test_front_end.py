"""A front end of one thread before the engine: how long requests are in it, and in which order they leave."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import compose
from sim.clock import Clock
from sim.latency import ttft_parts
from sim.scenario import Result, Scenario
from sim.simulate import simulate
from sim.variant import Variant
from sim.workload import Port, Workload, random_streams
from workloads.distributions import Fixed, Uniform
from workloads.front_end import FrontEnd
from workloads.open_loop import Burst
from workloads.trace import Trace
from workloads.users import ClosedLoop

SERVER = Variant("own", "vllm", "a100-40g-sxm", "llama-3.1-8b", "0.14", {"max_model_len": 4096}, "bf16")
MS = 10**9
WORK_S, WORK_PS = 0.004, 4 * MS
GAPS_PS = st.lists(st.integers(0, 3 * WORK_PS), min_size=1, max_size=40)


def run(workload: Workload) -> Result:
    deployment = compose.deploy(SERVER)
    cost = compose.step_cost(SERVER, deployment)
    return simulate(Scenario(deployment, cost, workload, compose.router("round_robin")))


def left(arrivals_ps: tuple[int, ...]) -> list[tuple[int, int]]:
    """The requests in the order in which they leave the front end, and when."""
    clock, seen = Clock(), list[tuple[int, int]]()
    port = Port(clock, lambda request: seen.append((request.id, clock.now)), random_streams(0))
    ones = (1,) * len(arrivals_ps)
    FrontEnd(Trace("own", arrivals_ps, ones, ones), WORK_S).source(port).start()
    clock.run()
    return seen


def arrivals_after(gaps_ps: list[int]) -> tuple[int, ...]:
    return tuple(accumulate(gaps_ps[1:], initial=0))


@pytest.mark.parametrize("together", [1, 2, 7, 300])
def test_each_of_many_sent_together_waits_for_the_work_of_all(together: int) -> None:
    assert left((0,) * together) == [(number, together * WORK_PS) for number in range(together)]


def test_who_is_alone_again_has_the_thread_for_itself() -> None:
    assert left((0, WORK_PS // 2, 9 * WORK_PS)) == [(0, 3 * WORK_PS // 2), (1, 2 * WORK_PS), (2, 10 * WORK_PS)]


@given(GAPS_PS)
def test_no_request_overtakes_another(gaps_ps: list[int]) -> None:
    assert [number for number, _ in left(arrivals_after(gaps_ps))] == list(range(len(gaps_ps)))


@given(GAPS_PS)
def test_the_thread_is_never_idle_with_requests_inside_and_does_no_work_twice(gaps_ps: list[int]) -> None:
    arrivals_ps, free_ps = arrivals_after(gaps_ps), 0
    for arrival_ps in arrivals_ps:
        free_ps = max(free_ps, arrival_ps) + WORK_PS
    assert left(arrivals_ps)[-1][1] == pytest.approx(free_ps, abs=len(arrivals_ps))  # whole ps at every change


@given(GAPS_PS)
def test_nobody_is_through_in_less_than_its_own_work(gaps_ps: list[int]) -> None:
    arrivals_ps = arrivals_after(gaps_ps)
    assert all(time_ps - arrivals_ps[number] >= WORK_PS - 1 for number, time_ps in left(arrivals_ps))


def test_a_front_end_without_work_changes_nothing() -> None:
    users = ClosedLoop(6, 60, Uniform(100, 500), Uniform(10, 60))
    near, far = run(users).requests, run(FrontEnd(users, 0.0)).requests
    assert all(np.array_equal(near[name], far[name]) for name in near)


def test_the_work_counts_as_time_before_the_engine() -> None:
    parts = ttft_parts(run(FrontEnd(Burst(8, Fixed(300), Fixed(40)), WORK_S)).requests)
    assert set(parts["front_door"].tolist()) == {8 * WORK_PS}
