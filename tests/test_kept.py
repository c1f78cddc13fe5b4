"""Loads behind what the server still holds: nobody computes it again, and only the load itself is measured."""

import numpy as np
import pytest

from sim import compose
from sim.latency import latencies
from sim.scenario import Result, Scenario
from sim.simulate import simulate
from sim.variant import Variant
from sim.window import measured_rows
from sim.workload import Workload
from workloads.distributions import Fixed, Uniform
from workloads.kept import Kept
from workloads.open_loop import Burst
from workloads.users import ClosedLoop

SLOTS = 4
SERVERS = (
    Variant("llama", "llama_cpp", "rtx-4090", "llama-3.1-8b", options={"parallel": SLOTS, "ctx_size": 16384}),
    Variant("ollama", "ollama", "rtx-4090", "llama-3.1-8b", options={"num_parallel": SLOTS, "num_ctx": 4096}),
    Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b", options={"max_model_len": 4096}, weights="bf16"),
)
LOADS = (Burst(SLOTS, Fixed(40), Fixed(30)), ClosedLoop(SLOTS, 12, Uniform(20, 60), Uniform(10, 40)))
KEPT = 2000


@pytest.fixture(params=SERVERS, ids=lambda server: server.id)
def server(request: pytest.FixtureRequest) -> Variant:
    found: Variant = request.param
    return found


def run(server: Variant, workload: Workload) -> Result:
    deployment = compose.deploy(server)
    cost = compose.step_cost(server, deployment)
    return simulate(Scenario(deployment, cost, workload, compose.router("round_robin")))


@pytest.mark.parametrize("load", LOADS, ids=lambda load: type(load).__name__)
def test_what_is_kept_is_not_computed_again(server: Variant, load: Workload) -> None:
    result = run(server, Kept(load, KEPT, SLOTS))
    computed = (result.requests["prompt_tokens"] - result.requests["cached_tokens"])[measured_rows(result)]
    assert len(computed) == load.requests
    assert (computed <= 60 + 16).all()  # a block may stand half filled


@pytest.mark.parametrize("load", LOADS, ids=lambda load: type(load).__name__)
def test_its_first_tokens_come_sooner_than_with_the_whole_prompt_and_no_sooner_than_without_it(
    server: Variant, load: Workload
) -> None:
    behind, alone = run(server, Kept(load, KEPT, SLOTS)), run(server, load)
    whole = run(server, Burst(SLOTS, Fixed(KEPT + 40), Fixed(30)))
    kept, short, long = (np.nanmean(latencies(each).of(measured_rows(each)).ttft_s) for each in (behind, alone, whole))
    assert short * 0.99 <= kept < 0.5 * long


@pytest.mark.parametrize("load", LOADS, ids=lambda load: type(load).__name__)
def test_the_load_itself_is_the_same(load: Workload) -> None:
    behind, alone = run(SERVERS[0], Kept(load, KEPT, SLOTS)), run(SERVERS[0], load)
    prompts, answers = (in_order(behind, name)[SLOTS:] for name in ("prompt_tokens", "output_tokens"))
    assert [tokens - KEPT for tokens in prompts] == in_order(alone, "prompt_tokens")
    assert answers == in_order(alone, "output_tokens")


def in_order(result: Result, name: str) -> list[int]:
    """A column by the requests' numbers."""
    found: list[int] = result.requests[name][np.argsort(result.requests["id"])].tolist()
    return found
