"""How fast simulation is, in a unit that travels: bare SimPy timeouts a simulated request, both timed in one process.

python -m tests.benchmark [--quick]
"""

import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from time import process_time
from typing import Any

from simpy import Environment, Event

from calibration import catalog, profile
from calibration.physics import step_cost
from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.engines import llama_cpp, vllm
from policies.routers.round_robin import RoundRobin
from sim.engine import Deployment, Engine
from sim.scenario import Result, Scenario
from sim.simulate import simulate
from workloads.lengths import parse_lengths
from workloads.users import ClosedLoop

BARE_TIMEOUTS = 100_000
BLOCK = 16
PROMPT, OUTPUT = "lognormal:mean=512,cv=0.8", "lognormal:mean=256,cv=0.8"


def bare_timeout_s() -> float:
    """CPU time of one timeout of a process that does nothing else."""

    def waiter(env: Environment) -> Generator[Event, None, None]:
        for _ in range(BARE_TIMEOUTS):
            yield env.timeout(1)

    env = Environment()
    env.process(waiter(env))
    start = process_time()
    env.run()
    return (process_time() - start) / BARE_TIMEOUTS


def deployed(engine: Engine, **options: Any) -> Deployment:
    """The engine as installed, on an H100 with Llama 3.1 8B."""
    model = catalog.model("llama-3.1-8b")
    weights = "bf16" if engine is vllm else "q4_k_m"
    options = {"weights": weights, "weight_bits": catalog.weight_bits(model, weights), **options}
    return engine.deploy((catalog.gpu("h100"),), catalog.host("server-ddr5"), model, options)


def loop(deployment: Deployment, users: int, requests: int, prompt: str = PROMPT, output: str = OUTPUT) -> Scenario:
    """Users without think time."""
    workload = ClosedLoop(users, requests, parse_lengths(prompt), parse_lengths(output))
    return Scenario(deployment, step_cost(deployment, profile.load("datasheet")), workload, RoundRobin)


def tight(scenario: Scenario, share: float) -> Scenario:
    """A pool that holds only a share of what the users would like to keep in memory at a time."""
    workload = scenario.workload
    assert isinstance(workload, ClosedLoop)
    tokens = workload.users * (workload.prompt.mean + workload.output.mean / 2)
    blocks = 1 + round(share * tokens / BLOCK)
    return replace(scenario, deployment=replace(scenario.deployment, cache=partial(PagedCache, blocks, BLOCK)))


@dataclass(frozen=True)
class Timing:
    """One scenario's cost, beside the bare timeout measured just before and after it."""

    seconds_a_request: float
    bare_s: float
    result: Result

    @property
    def timeouts(self) -> float:
        """Bare timeouts a request."""
        return self.seconds_a_request / self.bare_s


def timed(scenario: Scenario, repeats: int = 3) -> Timing:
    """The best of a few runs against the best bare timeout of the same minute."""
    best, bare, result = float("inf"), float("inf"), None
    for _ in range(repeats):
        bare = min(bare, bare_timeout_s())
        start = process_time()
        result = simulate(scenario)
        best = min(best, process_time() - start)
    assert result is not None
    return Timing(best / scenario.workload.requests, bare, result)


def prefix_cost_a_block(scenario: Scenario) -> float:
    """Bare timeouts that remembering content adds for each block a request goes through."""
    cache = scenario.deployment.cache()
    assert isinstance(cache, PagedCache)
    with_content = replace(scenario.deployment, cache=partial(PrefixCache, cache.num_blocks, BLOCK))
    without = replace(scenario.deployment, cache=partial(PagedCache, cache.num_blocks, BLOCK))
    on, off = timed(replace(scenario, deployment=with_content)), timed(replace(scenario, deployment=without))
    requests = on.result.requests
    blocks = float((requests["prompt_tokens"] + requests["output_tokens"]).mean()) / BLOCK
    return (on.timeouts - off.timeouts) / blocks


def report(requests: int, write: Callable[[str], object] = print) -> None:
    """The table of the docs."""
    paged = deployed(vllm, enable_prefix_caching=False)
    for users in (1, 8, 32, 128):
        write(f"vLLM, {users:3} users: {timed(loop(paged, users, requests)).timeouts:5.1f} bare timeouts a request")
    pressed = timed(tight(loop(paged, 128, requests), 0.6))
    preemptions = pressed.result.replicas[0].preemptions / requests
    write(f"vLLM, 128 users, pool of 60%: {pressed.timeouts:5.1f} ({preemptions:.2f} preemptions a request)")
    write(f"prefix caching: {prefix_cost_a_block(loop(paged, 32, requests)):+5.2f} a block")
    slots = deployed(llama_cpp, parallel=8, ctx_size=8 * 8192)
    write(f"llama.cpp, 8 slots, 128 users: {timed(loop(slots, 128, requests)).timeouts:5.1f}")
    for output in (256, 8192):
        long = timed(loop(paged, 8, requests // 4, "128", f"{output}"))
        write(f"vLLM, 8 users, {output} output tokens: {long.timeouts:5.1f}")


def scaling(write: Callable[[str], object] = print) -> None:
    """Cost and memory a request, from a thousand requests to a million."""
    import resource

    paged = deployed(vllm, enable_prefix_caching=False)
    for requests in (1_000, 10_000, 100_000, 1_000_000):
        timing = timed(loop(paged, 128, requests), repeats=1)
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        write(f"{requests:9,} requests: {timing.timeouts:5.1f} bare timeouts a request, peak {peak_gb:.2f} GB")


if __name__ == "__main__":
    quick = "--quick" in sys.argv
    report(2_000 if quick else 20_000)
    if not quick:
        scaling()
