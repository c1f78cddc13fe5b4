"""What every whole run promises, whatever policy serves it: repeatable, complete, nothing made up and nothing lost."""

import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies.routers.least_loaded import LeastLoaded
from sim import compose
from sim.cache import KVCache
from sim.clock import PS_PER_MS
from sim.core import Core
from sim.engine import Deployment, Door, MemoryPlan, Traits
from sim.journal import ENDS, Columns
from sim.metrics import summarise
from sim.request import End, Request
from sim.scenario import Patience, Result, Scenario
from sim.simulate import simulate
from sim.slo import Slo
from sim.variant import Demand, Variant
from sim.window import Window, emitted_tokens
from sim.workload import Workload
from tests.driver import LONGEST, POLICIES, LinearCost, paged, vllm
from tests.serving import GPU, HOST, MODEL, PATIENT, Load
from workloads.arrivals import Poisson
from workloads.distributions import Fixed, Lengths, Uniform
from workloads.open_loop import Burst, OpenLoop
from workloads.think import ExponentialThink, FixedThink, Think
from workloads.users import ClosedLoop

ANSWERED = [ENDS.index(End.FINISHED), ENDS.index(End.LENGTH)]
UNHURRIED = LinearCost(10 * PS_PER_MS, PS_PER_MS, 1000, PS_PER_MS)


@dataclass(frozen=True)
class PolicyAlone(Deployment):
    """A policy in tight memory without an engine around it; the cores it has made can be looked at afterwards."""

    policy: str = "vllm_v1"
    tokens: int = LONGEST
    cores: list[Core] = field(default_factory=list, compare=False)

    def core(self) -> Core:
        """A fresh one, kept in sight."""
        self.cores.append(POLICIES[self.policy](self.tokens))
        return self.cores[-1]


def alone(policy: str, tokens: int, door: Door | None = None) -> PolicyAlone:
    plan, traits = MemoryPlan(0, 0, 0, tokens, LONGEST), Traits("vllm", "bf16", 16.0)
    unused = partial(paged, tokens)
    return PolicyAlone(
        "test", "1", {}, (GPU,), HOST, MODEL, plan, traits, vllm(), unused, door or Door(), (), policy, tokens
    )


def scenario(
    deployment: Deployment, load: Load, replicas: int = 1, seed: int = 0, patience: Patience = PATIENT
) -> Scenario:
    return Scenario(deployment, UNHURRIED, cast(Workload, load), LeastLoaded, replicas, seed, patience)


lengths = st.integers(1, 20).map(lambda most: Uniform(1, most))
any_prompt = st.one_of(lengths, st.just(Uniform(LONGEST - 4, LONGEST + 2)))
think_times = st.sampled_from([FixedThink(0.0), FixedThink(0.05), ExponentialThink(0.05)])
limits = st.none() | st.integers(1, 30)
counts = st.integers(1, 16)
loads: st.SearchStrategy[Load] = st.one_of(
    st.builds(ClosedLoop, st.integers(1, 8), counts, any_prompt, lengths, think_times, limit=limits),
    st.builds(OpenLoop, st.floats(1, 100).map(Poisson), counts, any_prompt, lengths, limit=limits),
    st.builds(Burst, counts, any_prompt, lengths, limit=limits),
)
memories = st.integers(LONGEST, 3 * LONGEST)
doors = st.sampled_from([Door(), Door(permits=2), Door(permits=3, load_s=0.3, pending_limit=4)])
patience = st.one_of(
    st.just(PATIENT), st.builds(Patience, st.sampled_from([0.02, 0.1, 0.5, 2.0]), st.integers(0, 2), st.just(0.01))
)
seeds = st.integers(0, 99)
for_every_policy = pytest.mark.parametrize("policy", POLICIES)


# -- everybody ends, once, and leaves nothing behind


@for_every_policy
@given(load=loads, tokens=memories, door=doors, patience=patience, replicas=st.integers(1, 2), seed=seeds)
def test_every_attempt_ends_in_exactly_one_way_and_leaves_nothing_behind(
    policy: str, load: Load, tokens: int, door: Door, patience: Patience, replicas: int, seed: int
) -> None:
    deployment = alone(policy, tokens, door)
    result = simulate(scenario(deployment, load, replicas, seed, patience))
    log = result.requests
    assert result.unanswered == 0
    tries = Counter(log["id"].tolist())
    assert set(tries) == set(range(load.requests))
    assert sorted(zip(log["id"].tolist(), log["attempt"].tolist(), strict=True)) == sorted(
        (number, attempt) for number, made in tries.items() for attempt in range(1, made + 1)
    )
    assert max(tries.values()) <= 1 + patience.retries
    metrics = summarise(result, Slo())
    assert sum(metrics.outcomes.values()) == metrics.requests == len(log["id"])
    for core in deployment.cores:
        assert_as_new(core)


def assert_as_new(core: Core) -> None:
    """Nobody is inside, no cell is held, and the longest request there is gets through."""
    assert core.scheduler.waiting_count == core.scheduler.running_count == core.decoding.count == 0
    assert core.schedule() is None
    assert_empty(core.cache)
    longest = Request(10**6, LONGEST - 2, 2)
    assert core.submit(longest)
    for _ in range(2 * LONGEST):
        batch = core.schedule()
        if batch is not None:
            core.complete(batch)
    assert longest.end is End.LENGTH
    assert_empty(core.cache)


def assert_empty(cache: KVCache) -> None:
    """Cells that no request may have are those of gaps too short for the longest one."""
    cache.check()
    used, reserved, internal, external, free = cache.usage()
    assert (used, reserved, internal, external + free) == (0, 0, 0, cache.capacity_tokens)


@for_every_policy
@given(load=loads, tokens=memories, replicas=st.integers(1, 2), seed=seeds)
def test_who_is_served_to_the_end_gets_as_many_tokens_as_the_answer_has(
    policy: str, load: Load, tokens: int, replicas: int, seed: int
) -> None:
    result = simulate(scenario(alone(policy, tokens), load, replicas, seed))
    log = result.requests
    answered, failed = np.isin(log["end"], ANSWERED), log["end"] == ENDS.index(End.FAILED)
    emitted = emitted_tokens(result, Window(0, result.end_ps))
    whole = int(log["output_tokens"][answered].sum())
    if failed.any():
        assert whole <= emitted < whole + log["output_tokens"][failed].sum()
    else:
        assert emitted == whole


def time_of_rows(record: Columns) -> int:
    """The durations of all steps, each as often as it had a row for somebody's next token."""
    first, growth, steps, rows = (record[name].astype(object) for name in ("first_ps", "growth_ps", "steps", "decodes"))
    return int((rows * (steps * first + growth * (steps * (steps - 1) // 2))).sum())


@for_every_policy
@given(load=loads, tokens=memories, replicas=st.integers(1, 2), seed=seeds)
def test_littles_law_holds_to_the_picosecond_for_those_who_decode(
    policy: str, load: Load, tokens: int, replicas: int, seed: int
) -> None:
    """Rows over time, with what each sat out, are the time between first and last token of all requests."""
    result = simulate(scenario(alone(policy, tokens), load, replicas, seed))
    log = result.requests
    assume(ENDS.index(End.FAILED) not in log["end"])
    answered = np.isin(log["end"], ANSWERED)
    inside = sum(time_of_rows(record.strides) + int(record.gaps["gap_ps"].sum()) for record in result.replicas)
    assert inside == (log["end_ps"] - log["first_token_ps"])[answered].sum()


# -- the same scenario, the same bytes


def bytes_of(result: Result) -> bytes:
    """Every column, its name, its type and its numbers."""
    tables = [result.requests]
    for record in result.replicas:
        tables += [record.strides, record.gaps, record.usage]
    columns = [(name, column.dtype.str, column.tobytes()) for table in tables for name, column in table.items()]
    rest = [(record.preemptions, record.capacity_tokens) for record in result.replicas]
    return pickle.dumps((columns, rest, result.end_ps, result.unanswered))


@for_every_policy
@given(load=loads, tokens=memories, patience=patience, replicas=st.integers(1, 2), seed=seeds)
def test_a_scenario_repeats_bit_for_bit_and_so_does_its_pickle(
    policy: str, load: Load, tokens: int, patience: Patience, replicas: int, seed: int
) -> None:
    told = scenario(alone(policy, tokens), load, replicas, seed, patience)
    copied = pickle.loads(pickle.dumps(told))
    result = simulate(told)
    assert bytes_of(simulate(told)) == bytes_of(result) == bytes_of(simulate(copied))


SERVED = Demand(prompt_tokens="lognormal:mean=200,cv=1", output_tokens="lognormal:mean=40,cv=1", requests=60)
ENGINES = [
    Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b", replicas=2, router="least_loaded"),
    Variant("llama_cpp", "llama_cpp", "rtx-4090", "llama-3.1-8b"),
    Variant("ollama", "ollama", "rtx-4090", "llama-3.1-8b", options={"num_parallel": 4}),
]


def on_engine(variant: Variant, seed: int = 0, demand: Demand = SERVED) -> Scenario:
    return compose.scenario(variant, compose.deploy(variant), compose.traffic(demand), 8, seed)


ELSEWHERE = """
import pickle, sys
from sim.simulate import simulate
from tests.test_whole_runs import bytes_of
told = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps([bytes_of(simulate(one)) for one in told]))
"""


def test_another_process_with_another_hash_seed_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    told = [on_engine(variant) for variant in ENGINES]
    there = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], input=pickle.dumps(told), capture_output=True, check=True, timeout=120
    )
    assert pickle.loads(there.stdout) == [bytes_of(simulate(one)) for one in told]


@pytest.mark.parametrize("variant", ENGINES, ids=lambda variant: variant.id)
def test_a_result_pickles(variant: Variant) -> None:
    result = simulate(on_engine(variant))
    again = pickle.loads(pickle.dumps(result))
    assert bytes_of(again) == bytes_of(result)
    assert bytes_of(simulate(again.scenario)) == bytes_of(result)


@pytest.mark.parametrize("variant", ENGINES, ids=lambda variant: variant.id)
@given(st.integers(0, 2**32), st.integers(1, 2**32))
def test_another_seed_is_another_run(variant: Variant, seed: int, further: int) -> None:
    few = replace(SERVED, requests=8)
    one, other = (simulate(on_engine(variant, number, few)).requests for number in (seed, seed + further))
    assert not np.array_equal(one["prompt_tokens"], other["prompt_tokens"])
    assert not np.array_equal(one["end_ps"], other["end_ps"])


# -- one stream of chance for each purpose

ROOMY = 3 * LONGEST


def by_number(load: Load, seed: int) -> dict[str, list[int]]:
    log = simulate(scenario(alone("vllm_v1", ROOMY), load, seed=seed)).requests
    order = np.argsort(log["id"])
    return {name: column[order].tolist() for name, column in log.items()}


fitting = st.integers(2, 16).map(lambda most: Uniform(1, most))


@given(st.integers(1, 8), fitting, st.lists(st.one_of(fitting, st.just(Fixed(3))), min_size=2, max_size=2), seeds)
def test_other_answers_leave_the_prompts_as_they_were(
    users: int, prompt: Lengths, outputs: list[Lengths], seed: int
) -> None:
    one, other = (by_number(ClosedLoop(users, 20, prompt, output), seed) for output in outputs)
    assert one["prompt_tokens"] == other["prompt_tokens"]


@given(st.integers(1, 8), st.lists(fitting, min_size=2, max_size=2), fitting, seeds)
def test_other_prompts_leave_the_answers_as_they_were(
    users: int, prompts: list[Lengths], output: Lengths, seed: int
) -> None:
    one, other = (by_number(ClosedLoop(users, 20, prompt, output), seed) for prompt in prompts)
    assert one["output_tokens"] == other["output_tokens"]


@given(st.integers(1, 8), fitting, fitting, st.lists(think_times, min_size=2, max_size=2), st.integers(1, 8), seeds)
def test_other_pauses_or_another_number_of_users_leave_all_lengths_as_they_were(
    users: int, prompt: Lengths, output: Lengths, pauses: list[Think], others: int, seed: int
) -> None:
    one = by_number(ClosedLoop(users, 20, prompt, output, pauses[0]), seed)
    other = by_number(ClosedLoop(others, 20, prompt, output, pauses[1]), seed)
    assert one["prompt_tokens"] == other["prompt_tokens"]
    assert one["output_tokens"] == other["output_tokens"]


@given(st.floats(1, 50), fitting, st.lists(fitting, min_size=2, max_size=2), seeds)
def test_other_lengths_leave_the_arrivals_as_they_were(
    rate: float, prompt: Lengths, others: list[Lengths], seed: int
) -> None:
    one = by_number(OpenLoop(Poisson(rate), 20, prompt, prompt), seed)
    other = by_number(OpenLoop(Poisson(rate), 20, others[0], others[1]), seed)
    assert one["arrival_ps"] == other["arrival_ps"]
    assert by_number(Burst(20, prompt, prompt), seed)["prompt_tokens"] == one["prompt_tokens"]
