"""Requests that take a while to reach the engine: what their clients see of it, and what stays as it was."""

import numpy as np
import pytest

from sim import compose
from sim.latency import latencies, ttft_parts
from sim.scenario import Result, Scenario
from sim.simulate import simulate
from sim.variant import Variant
from sim.workload import Workload
from workloads.distributions import Fixed, Uniform
from workloads.open_loop import Burst
from workloads.remote import Remote
from workloads.think import ExponentialThink, FixedThink, Think
from workloads.users import ClosedLoop

SERVER = Variant("own", "vllm", "a100-40g-sxm", "llama-3.1-8b", "0.14", {"max_model_len": 4096}, "bf16")
MS = 10**9
LATENCIES = (FixedThink(0.012), ExponentialThink(0.012))


def run(workload: Workload, seed: int = 0) -> Result:
    deployment = compose.deploy(SERVER)
    cost = compose.step_cost(SERVER, deployment)
    return simulate(Scenario(deployment, cost, workload, compose.router("round_robin"), seed=seed))


def test_a_lone_client_waits_for_its_first_token_so_much_longer_and_no_longer_after_it() -> None:
    near, far = (run(Burst(1, Fixed(300), Fixed(40))), run(Remote(Burst(1, Fixed(300), Fixed(40)), FixedThink(0.012))))
    waited, there = latencies(far), latencies(near)
    assert waited.ttft_s[0] - there.ttft_s[0] == pytest.approx(0.012, abs=1e-12)
    assert waited.tpot_s[0] == there.tpot_s[0]


def test_the_way_counts_as_time_before_the_engine() -> None:
    parts = ttft_parts(run(Remote(Burst(8, Fixed(300), Fixed(40)), FixedThink(0.012))).requests)
    assert set(parts["front_door"].tolist()) == {12 * MS}
    assert parts["queue"].min() == 0


@pytest.mark.parametrize("latency", LATENCIES, ids=str)
def test_the_same_requests_are_sent_with_any_latency(latency: Think) -> None:
    users = ClosedLoop(6, 60, Uniform(100, 500), Uniform(10, 60))
    near, far = run(users).requests, run(Remote(users, latency)).requests
    for name in ("prompt_tokens", "output_tokens"):
        by_id = [log[name][np.argsort(log["id"])].tolist() for log in (near, far)]
        assert by_id[0] == by_id[1]


def test_every_user_has_one_request_under_way_at_most() -> None:
    log = run(Remote(ClosedLoop(5, 50, Fixed(200), Fixed(30)), ExponentialThink(0.012))).requests
    for user in range(5):
        mine = np.flatnonzero(log["user"] == user)
        mine = mine[np.argsort(log["arrival_ps"][mine])]
        assert (log["arrival_ps"][mine][1:] >= log["end_ps"][mine][:-1]).all()


def test_users_of_equal_lengths_wait_for_more_of_each_other_s_prompts_where_they_are_all_late_by_the_same() -> None:
    together = ClosedLoop(16, 160, Fixed(2000), Fixed(60))
    waits = [float(np.median(latencies(run(load)).ttft_s)) for load in (together, Remote(together, LATENCIES[0]))]
    assert waits[1] > waits[0] + 0.012


@pytest.mark.parametrize("latency", LATENCIES, ids=str)
def test_the_same_seed_gives_the_same_times(latency: Think) -> None:
    load = Remote(ClosedLoop(4, 40, Fixed(200), Fixed(30)), latency)
    first, second = (run(load, seed=3).requests["first_token_ps"] for _ in range(2))
    assert (first == second).all()
