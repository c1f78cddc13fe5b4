"""What is true of capacity and memory whatever the engine, and nothing that only sounds true.

More memory does not always carry more users under a bound on TPOT: a larger batch makes every token slower. No test
here asks for it.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import compose
from sim.batch import Batch, Pass
from sim.capacity import Bracket, bracket, judged_bracket, next_loads, next_users, passes
from sim.engine import Deployment
from sim.errors import DoesNotFit
from sim.hardware import GIB
from sim.judging import Judgement
from sim.latency import Latencies, latencies
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.slo import Slo, meets
from sim.sweep import Plan, Runner, sweep
from sim.variant import Demand, Variant
from sim.window import measured_rows
from workloads.units import parse_user_grid

MODEL = "llama-3.1-8b"
CHAT = compose.traffic(
    Demand(
        prompt_tokens="lognormal:mean=300,cv=0.5,max=900", output_tokens="lognormal:mean=60,cv=0.5,max=150", requests=60
    )
)
SEEDS = (0, 1)
ENGINES = {
    "vllm": Variant("vllm", "vllm", "a100-40g-sxm", MODEL, options={"num_gpu_blocks": 500, "max_model_len": 2048}),
    "llama_cpp": Variant("llama_cpp", "llama_cpp", "rtx-4090", MODEL),
    "ollama": Variant("ollama", "ollama", "rtx-4090", MODEL, options={"num_parallel": 6, "num_ctx": 2048}),
}


class Loads:
    """One variant at any number of users: every load is simulated once, with the same seeds as every other."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.deployment = compose.deploy(variant)
        self.at = cache(self.latencies)

    def scenario(self, users: int | None, seed: int) -> Scenario:
        return compose.scenario(self.variant, self.deployment, CHAT, users, seed)

    def latencies(self, users: int) -> list[Latencies]:
        results = [simulate(self.scenario(users, seed)) for seed in SEEDS]
        return [latencies(result).of(measured_rows(result)) for result in results]

    def carries(self, slo: Slo, users: int) -> bool:
        return passes([float(meets(slo, measured).mean()) for measured in self.at(users)])


@cache
def loads_of(engine: str) -> Loads:
    return Loads(ENGINES[engine])


def searched(carries: Callable[[int], bool], grid: str) -> Bracket:
    """The bracket that a sweep over the grid ends with."""
    verdicts = {users: carries(users) for users in parse_user_grid(grid).users}
    while (users := next_users(bracket(verdicts))) is not None:
        verdicts[users] = carries(users)
    return bracket(verdicts)


def no_smaller(one: Bracket, other: Bracket) -> bool:
    return one.passing >= other.passing and (
        one.failing is None or (other.failing is not None and one.failing >= other.failing)
    )


# -- a relaxed SLO

bounds = st.none() | st.floats(-2.3, 1.3).map(lambda exponent: float(10**exponent))
factors = st.floats(0, 1).map(lambda exponent: float(10**exponent))


def relaxed(bound_s: float | None, factor: float | None) -> float | None:
    return None if bound_s is None or factor is None else bound_s * factor


@pytest.mark.parametrize("engine", ENGINES)
@given(st.tuples(bounds, bounds, bounds, bounds), st.tuples(*[st.none() | factors] * 4))
def test_capacity_does_not_fall_when_an_slo_is_relaxed(
    engine: str, limits: tuple[float | None, ...], more: tuple[float | None, ...]
) -> None:
    loads = loads_of(engine)
    strict, loose = Slo(*limits), Slo(*map(relaxed, limits, more))
    one, other = (searched(partial(loads.carries, slo), "1..32") for slo in (loose, strict))
    assert no_smaller(one, other)


verdicts = st.frozensets(st.integers(1, 160))


@given(verdicts, verdicts)
def test_a_search_that_sees_more_loads_pass_finds_no_smaller_capacity(
    strict: frozenset[int], also: frozenset[int]
) -> None:
    """Even where more users happen to be served well and fewer badly."""
    assert no_smaller(searched((strict | also).__contains__, "1..128"), searched(strict.__contains__, "1..128"))


ORDER = [Judgement.FAIL, Judgement.UNDECIDED, Judgement.PASS]


def judged(grades: dict[int, int], grid: str) -> Bracket:
    """The bracket of a search that sees these loads graded, from 0 for a sure failure to 2 for a sure pass."""
    seen: dict[int, Judgement] = {}
    wanted = [*parse_user_grid(grid).users]
    while wanted:
        seen |= {users: ORDER[min(2, grades.get(users, 0))] for users in wanted}
        wanted = next_loads(seen)
    return judged_bracket(seen)


grades = st.dictionaries(st.integers(1, 160), st.integers(0, 2))


@given(grades, grades)
def test_a_search_that_judges_no_load_worse_finds_neither_end_lower(
    strict: dict[int, int], more: dict[int, int]
) -> None:
    loose = {users: strict.get(users, 0) + more.get(users, 0) for users in strict | more}
    assert no_smaller(judged(loose, "1..128"), judged(strict, "1..128"))


@given(grades, st.sampled_from(["1..256", "1..1024"]))
def test_an_extended_search_leaves_a_judged_bracket_that_was_closed(seen: dict[int, int], longer: str) -> None:
    found = judged(seen, "1..128")
    if found.failing is not None:
        assert judged(seen, longer) == found


# -- an extended sweep


@given(verdicts, st.sampled_from(["1..256", "1..1024"]))
def test_an_extended_search_leaves_a_bracket_that_was_closed(passing: frozenset[int], longer: str) -> None:
    found = searched(passing.__contains__, "1..128")
    if found.failing is not None:
        assert searched(passing.__contains__, longer) == found


@pytest.mark.parametrize("engine", ENGINES)
def test_the_bracket_does_not_move_when_the_sweep_is_extended(engine: str) -> None:
    loads, slo = loads_of(engine), Slo(ttft_s=0.3)

    def judged(shares: list[float]) -> Judgement:
        return Judgement.PASS if passes([*shares]) else Judgement.FAIL

    def swept(grid: str) -> Bracket:
        plan = Plan(
            (engine,),
            parse_user_grid(grid).users,
            SEEDS,
            lambda _, users, seed: loads.scenario(users, seed),
            refine=True,
        )
        runner = Runner(lambda result: float(meets(slo, latencies(result).of(measured_rows(result))).mean()))
        found = sweep(plan, runner, judged).of(engine)
        return bracket({users: passes([*shares]) for users, shares in found.items()})

    short, long = swept("1..32"), swept("1..64")
    assert short.failing is not None
    assert short == long


# -- memory


def with_memory(engine: str, gib: float, **options: int) -> Variant:
    card, machine = ("a100-80g-sxm", "server-ddr4") if engine == "vllm" else ("rtx-4090", "server-ddr5")
    return Variant(engine, engine, card, MODEL, options=options, vram_bytes=round(gib * GIB), host=machine)


def in_slots(engine: str, gib: float, slots: int, lane: int) -> Variant:
    """A slot engine with so many slots of `lane` tokens each."""
    if engine == "ollama":
        return with_memory(engine, gib, num_parallel=slots, num_ctx=lane)
    return with_memory(engine, gib, parallel=slots, ctx_size=slots * lane)


def fits(engine: str, gib: float, slots: int, lane: int) -> bool:
    try:
        return not compose.deploy(in_slots(engine, gib, slots, lane)).memory.layers_on_host
    except DoesNotFit:
        return False


def most_slots(engine: str, gib: float, lane: int) -> int:
    """The largest number of slots with every layer on the GPU, found one by one; 0 where not even one fits."""
    slots = 0
    while fits(engine, gib, slots + 1, lane):
        slots += 1
    return slots


sizes = st.floats(5, 12)
lanes = st.sampled_from([1024, 2048, 4096])
SLOT_ENGINES = ["ollama", "llama_cpp"]


@pytest.mark.parametrize("engine", SLOT_ENGINES)
@given(gib=sizes, more=st.floats(0, 4), lane=lanes)
def test_slots_that_fit_do_not_fall_with_memory(engine: str, gib: float, more: float, lane: int) -> None:
    assert most_slots(engine, gib + more, lane) >= most_slots(engine, gib, lane)


@given(gib=st.floats(6, 40), more=st.floats(0, 20))
def test_the_context_that_is_fitted_to_the_memory_does_not_fall_with_it(gib: float, more: float) -> None:
    small, large = (compose.deploy(with_memory("llama_cpp", size)).memory for size in (gib, gib + more))
    assert large.kv_tokens >= small.kv_tokens
    assert large.layers_on_host <= small.layers_on_host


@given(gib=st.floats(10, 80), more=st.floats(0, 20), longest=st.sampled_from([1024, 8192]))
def test_blocks_that_fit_do_not_fall_with_memory(gib: float, more: float, longest: int) -> None:
    def blocks(size: float) -> int:
        try:
            return compose.deploy(with_memory("vllm", size, max_model_len=longest)).memory.blocks or 0
        except DoesNotFit:
            return 0

    assert blocks(gib + more) >= blocks(gib)


def capacity(variant: Variant, ttft_s: float) -> Bracket:
    return searched(partial(Loads(variant).carries, Slo(ttft_s=ttft_s)), "1..64")


def assert_grows(found: list[Bracket]) -> None:
    """From each amount of memory to the next no fewer users, and more in the end."""
    assert all(no_smaller(more, less) for less, more in pairwise(found))
    assert found[0].passing < found[-1].passing


def test_blocks_that_memory_adds_carry_no_fewer_users_under_a_bound_on_ttft_alone() -> None:
    assert_grows([capacity(with_memory("vllm", gib, max_model_len=1200), 0.4) for gib in (17.5, 18, 18.5, 19.5)])


@pytest.mark.parametrize("engine", SLOT_ENGINES)
def test_slots_that_memory_adds_carry_no_fewer_users_under_a_bound_on_ttft_alone(engine: str) -> None:
    slots = {gib: most_slots(engine, gib, 2048) for gib in (7, 8, 10, 12)}
    assert_grows([capacity(in_slots(engine, gib, count, 2048), 0.5) for gib, count in slots.items()])


# -- what does not fit beside the weights spills


def decode_step_ps(deployment: Deployment, variant: Variant, context: int) -> int:
    """One token for the only user."""
    one = Pass(1, context, 1, outputs=1, padded=1)
    return compose.step_cost(variant, deployment).stride(Batch(1, (one,), context=context)).first_ps


@pytest.mark.parametrize("engine", SLOT_ENGINES)
@given(gib=sizes.map(lambda size: size + 1.5), lane=lanes, context=st.integers(1, 1024))
def test_one_slot_too_many_puts_layers_on_the_host_and_slows_even_a_single_user(
    engine: str, gib: float, lane: int, context: int
) -> None:
    slots = most_slots(engine, gib, lane)
    assert slots, "every card here holds the model with one slot"
    last, beyond = (in_slots(engine, gib, count, lane) for count in (slots, slots + 1))
    whole, spilled = compose.deploy(last), compose.deploy(beyond)
    assert whole.memory.layers_on_host == whole.memory.host_weight_bytes == 0
    assert spilled.memory.layers_on_host > 0
    assert decode_step_ps(spilled, beyond, context) > decode_step_ps(whole, last, context)
