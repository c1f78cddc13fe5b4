"""Sweeps find the same bracket wherever they begin, give results in the order asked, and keep what is done."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import compose
from sim.capacity import (
    Bracket,
    bracket,
    judged_bracket,
    next_loads,
    next_users,
    passes,
    roundest_between,
    search,
)
from sim.errors import UsageError
from sim.judging import Judgement, batches, decided, interval
from sim.merging import merge
from sim.metrics import PointMetrics, summarise
from sim.request import End
from sim.runner import Run
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.sweep import Findings, Key, Plan, Progress, Runner, sweep
from sim.variant import Demand, Variant, closed_budget, open_budget
from workloads.units import parse_user_grid

VLLM = Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b")
CHAT = compose.traffic(Demand(prompt_tokens="uniform:20,200", output_tokens="uniform:5,40", requests=40))
SLO = compose.slo("chat")
MEASURE = partial(summarise, slo=SLO)


def scenarios(options: dict[str, int] | None = None) -> Callable[[str, int | None, int], Scenario]:
    variant = replace(VLLM, options=options or {})
    deployment = compose.deploy(variant)
    return lambda _, users, seed: compose.scenario(variant, deployment, CHAT, users, seed)


# -- the bracket


@given(st.integers(0, 500), st.integers(2, 500))
def test_bisection_visits_a_load_strictly_between(low: int, width: int) -> None:
    high = low + width
    middle = roundest_between(low, high)
    assert low < middle < high
    zeros = (middle & -middle).bit_length()
    assert all((other & -other).bit_length() < zeros for other in range(low + 1, high) if other != middle)


def searched(grid: tuple[int, ...], capacity: int) -> Bracket:
    """The bracket of a system that carries exactly `capacity`, found from a grid."""
    verdicts = {users: users <= capacity for users in grid}
    while (users := next_users(bracket(verdicts))) is not None:
        assert users not in verdicts
        verdicts[users] = users <= capacity
    return bracket(verdicts)


@given(st.integers(0, 127), st.integers(7, 10))
def test_a_longer_sweep_does_not_move_the_bracket(capacity: int, doublings: int) -> None:
    found = searched(parse_user_grid("1..128").users, capacity)
    assert searched(parse_user_grid(f"1..{2**doublings}").users, capacity) == found
    assert found.failing is not None
    assert found.passing <= capacity < found.failing
    assert found.failing - found.passing <= max(1, 0.08 * found.passing)


@given(st.integers(1, 100), st.integers(0, 300))
def test_the_bracket_holds_the_capacity_from_any_grid(first: int, capacity: int) -> None:
    found = searched(parse_user_grid(f"{first}..400").users, capacity)
    assert found.failing is not None
    assert found.passing <= capacity < found.failing
    assert found.narrow


@given(st.dictionaries(st.integers(1, 40), st.booleans(), max_size=12))
def test_nothing_below_the_bracket_fails(verdicts: dict[int, bool]) -> None:
    found = bracket(verdicts)
    assert all(verdicts[users] for users in verdicts if users <= found.passing)
    assert found.failing is None or not verdicts[found.failing]
    assert found.passing == 0 or found.passing in verdicts


def test_a_sweep_in_which_nothing_fails_has_no_upper_end() -> None:
    assert bracket({1: True, 2: True}) == Bracket(2, None)
    assert next_users(Bracket(2, None)) is None


def test_a_load_passes_by_the_mean_of_its_seeds_and_no_answer_counts_as_none_served() -> None:
    assert passes([1.0, 0.9])
    assert not passes([1.0, 0.89])
    assert not passes([1.0, None])


# -- pass, fail and undecided

shares = st.floats(0, 1)
judgements = st.sampled_from(Judgement)


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=20))
def test_relaxing_an_slo_moves_no_judgement_downwards(pairs: list[tuple[float, float]]) -> None:
    """However much the batches scatter more than before."""
    strict = interval(tuple(share for share, _ in pairs))
    loose = interval(tuple(share + (1 - share) * more for share, more in pairs))
    assert loose.low >= strict.low - 1e-9
    assert loose.high >= strict.high - 1e-9


@given(st.lists(shares, min_size=1, max_size=20))
def test_the_interval_holds_the_mean(batched: list[float]) -> None:
    found = interval(tuple(batched))
    assert found.low - 1e-9 <= sum(batched) / len(batched) <= found.high + 1e-9


@pytest.mark.parametrize(
    ("batched", "said"),
    [
        ((1.0,) * 5, Judgement.PASS),
        ((0.95,) * 5, Judgement.PASS),
        ((0.94,) * 5, Judgement.FAIL),
        ((1.0, 0.9, 1.0, 0.9, 0.96), Judgement.UNDECIDED),
        ((1.0, 0.99, 1.0, 0.98, 1.0), Judgement.PASS),
        ((), Judgement.FAIL),
    ],
)
def test_a_load_is_judged_by_where_its_interval_lies(batched: tuple[float, ...], said: Judgement) -> None:
    assert interval(batched).judge() is said


@pytest.mark.parametrize(
    ("batched", "said", "asked"),
    [
        ((1.0,) * 5, Judgement.PASS, [(0,)]),
        ((0.5,) * 5, Judgement.FAIL, [(0,)]),
        ((1.0, 0.9, 1.0, 0.9, 0.96), Judgement.UNDECIDED, [(0,), (1, 2), [3, 4, 5], [6, 7, 8]]),
        ((1.0, 1.0, 1.0, 1.0, 0.8), Judgement.UNDECIDED, [(0,), (1, 2), [3, 4, 5], [6, 7, 8]]),
        ((1.0, 0.93, 0.98, 0.97, 0.98), Judgement.PASS, [(0,), (1, 2)]),
    ],
)
def test_a_load_is_run_with_more_seeds_until_it_is_decided(
    batched: tuple[float, ...], said: Judgement, asked: list[Sequence[int]]
) -> None:
    seen: list[Sequence[int]] = []

    def shares(seeds: Sequence[int]) -> tuple[float, ...]:
        seen.append(seeds)
        return batched * len(seeds)

    rounds = Plan(("vllm",), (1,), (0, 1, 2), scenarios(), refine=True).rounds
    assert (decided(shares, rounds), seen) == (said, asked)


def test_a_single_seed_is_followed_by_two_more() -> None:
    assert Plan(("vllm",), (1,), (4,), scenarios(), refine=True).rounds == [(4,), [5], [6]]


@given(st.lists(st.booleans(), max_size=30))
def test_batches_cover_every_request_once(marks: list[bool]) -> None:
    found = batches(np.array(marks, np.bool_))
    assert len(found) == min(5, len(marks))
    if len(marks) % 5 == 0 and marks:
        assert sum(found) / 5 == pytest.approx(sum(marks) / len(marks))


@given(st.dictionaries(st.integers(1, 64), judgements, min_size=1, max_size=10))
def test_undecided_loads_lie_within_the_bracket_and_never_at_its_ends(found: dict[int, Judgement]) -> None:
    ends = judged_bracket(found)
    assert all(found[users] is Judgement.PASS for users in found if users <= ends.passing)
    assert ends.failing is None or found[ends.failing] is Judgement.FAIL


@given(st.integers(1, 120), st.integers(0, 20), st.integers(7, 9))
def test_a_longer_sweep_does_not_move_a_bracket_with_undecided_loads(sure: int, unsure: int, doublings: int) -> None:
    def judge_at(users: int) -> Judgement:
        if users <= sure:
            return Judgement.PASS
        return Judgement.UNDECIDED if users <= sure + unsure else Judgement.FAIL

    def found(grid: str) -> Bracket:
        seen = {users: judge_at(users) for users in parse_user_grid(grid).users}
        while wanted := [users for users in next_loads(seen) if users not in seen]:
            seen |= {users: judge_at(users) for users in wanted}
        return judged_bracket(seen)

    short = found("1..128")
    if short.failing is not None:
        assert found(f"1..{2**doublings}") == short
        assert short.passing <= sure
        assert short.failing > sure + unsure
        assert short.failing - short.passing <= unsure + 2 * max(1, 0.08 * short.failing)


@given(st.integers(0, 300), st.integers(0, 100), st.integers(1, 60))
def test_a_search_around_a_known_bracket_finds_the_capacity_wherever_it_is(
    capacity: int, passing: int, width: int
) -> None:
    tried: list[int] = []

    def carries(users: int) -> bool:
        tried.append(users)
        return users <= capacity

    found = search(carries, Bracket(passing, passing + width), 4096)
    assert found.passing <= capacity
    assert found.failing is not None
    assert capacity < found.failing
    assert found.narrow
    assert len(tried) == len(set(tried))


def test_a_search_stops_at_the_most_users_it_may_try() -> None:
    assert search(lambda _: True, Bracket(10, 12), 100) == Bracket(100, None)
    assert search(lambda _: False, Bracket(10, 12), 100) == Bracket(0, 1)


# -- running


def run_all(processes: int) -> list[tuple[Key, PointMetrics]]:
    make = scenarios()
    plan = Plan(("vllm",), (1, 40, 2), (0, 1), make, refine=False)
    runner = Runner(MEASURE, processes)
    return list(runner.run([run for users in plan.users for run in plan.runs(Key("vllm", users))]))


def test_several_processes_give_the_same_results_in_the_order_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run_all(1)
    monkeypatch.setattr("sim.runner.WORTH_PROCESSES", 0)
    assert run_all(2) == alone
    assert [key.users for key, _ in alone] == [1, 1, 40, 40, 2, 2]


def test_a_sweep_refines_until_the_bracket_is_narrow() -> None:
    plan = Plan(("vllm",), parse_user_grid("1..64").users, (0,), scenarios({"max_num_seqs": 4}), refine=True)
    strict = partial(summarise, slo=compose.slo("ttft=60ms"))
    findings = sweep(plan, Runner(strict), judged)
    found = judged_bracket({users: judged(seeds) for users, seeds in findings.of("vllm").items()})
    assert set(plan.users) < set(findings.of("vllm"))
    assert found.narrow
    assert 4 <= found.passing < 32


def judged(seeds: list[PointMetrics]) -> Judgement:
    return interval(tuple(share for point in seeds for share in point.batches)).judge()


def test_a_listed_sweep_visits_what_is_listed_and_no_more() -> None:
    plan = Plan(("vllm",), (1, 8, 64), (0,), scenarios({"max_num_seqs": 4}), refine=False)
    assert list(sweep(plan, Runner(MEASURE), judged).of("vllm")) == [1, 8, 64]


def test_a_hopeless_load_is_run_once_and_every_other_with_all_seeds() -> None:
    plan = Plan(("vllm",), (1, 2, 4, 64), (0, 1, 2), scenarios({"max_num_seqs": 2}), refine=True)
    strict = partial(summarise, slo=compose.slo("ttft=60ms"))

    def without_hope(seeds: list[PointMetrics]) -> bool:
        return not any(point.met for point in seeds)

    points = sweep(plan, Runner(strict), judged, hopeless=without_hope).of("vllm")
    alone = {users for users, seeds in points.items() if len(seeds) == 1}
    assert alone == {users for users, seeds in points.items() if not seeds[0].met}
    assert 64 in alone
    assert all(len(seeds) % 3 == 0 for users, seeds in points.items() if users not in alone)


class Known(Runner[float]):
    """Does not simulate: exactly fifty users are carried."""

    def _outcomes(self, runs: Sequence[Run]) -> Iterable[float]:
        return [float(run.key.users is not None and run.key.users <= 50) for run in runs]


def runs_of(grid: str) -> int:
    counted: list[Progress] = []
    plan = Plan(("vllm",), parse_user_grid(grid).users, (0, 1, 2), scenarios(), refine=True)
    runner = Known(float, report=counted.append)  # type: ignore[arg-type]
    found = sweep(plan, runner, lambda shares: interval(tuple(shares)).judge(), hopeless=lambda shares: not any(shares))
    verdicts = {users: interval(tuple(shares)).judge() for users, shares in found.of("vllm").items()}
    assert judged_bracket(verdicts).passing <= 50 < (judged_bracket(verdicts).failing or 0)
    return len(counted)


def test_no_effort_goes_where_nothing_happens() -> None:
    """Eleven or so loads with three seeds each, and one run for every load that is far too much."""
    assert runs_of("1..128") <= 36
    assert runs_of("1..1024") == runs_of("1..128") + 3


def test_progress_counts_every_run_and_never_more_than_are_planned() -> None:
    steps: list[Progress] = []
    plan = Plan(("vllm",), (1, 2), (0, 1, 2), scenarios(), refine=False)
    sweep(plan, Runner(MEASURE, report=steps.append), judged)
    assert [(step.done, step.planned) for step in steps] == [(done, 6) for done in range(1, 7)]
    assert steps[-1].doing == Key("vllm", 2)


@pytest.mark.parametrize("stop", range(1, 7))
def test_an_interrupted_sweep_keeps_exactly_the_points_with_all_their_seeds(stop: int) -> None:
    def interrupt(step: Progress) -> None:
        if step.done == stop:
            raise KeyboardInterrupt

    plan = Plan(("vllm",), (1, 2, 3), (0, 1), scenarios(), refine=False)
    findings: Findings[PointMetrics] = sweep(plan, Runner(MEASURE, report=interrupt), judged)
    assert findings.interrupted
    assert list(findings.of("vllm")) == [1, 2, 3][: (stop - 1) // 2]
    assert all(len(seeds) == 2 for seeds in findings.points.values())


# -- what a point costs


@given(st.integers(1, 100_000), st.none() | st.integers(1, 10_000))
def test_every_user_warms_up_and_is_measured_unless_told_otherwise(users: int, asked: int | None) -> None:
    budget = closed_budget(users, asked)
    assert budget.warmup == 2 * users
    assert budget.measured == asked or budget.measured >= max(400, 8 * users)
    assert budget.total == budget.warmup + budget.measured + budget.cooldown


@given(st.floats(0.001, 1000), st.none() | st.integers(1, 10_000))
def test_an_open_loop_is_watched_for_two_minutes_at_least(rate: float, asked: int | None) -> None:
    budget = open_budget(rate, asked)
    assert budget.measured == asked or budget.measured >= max(1000, round(120 * rate))
    assert budget.total > budget.measured


# -- names to objects


def test_the_context_asked_for_holds_all_but_one_request_in_a_thousand() -> None:
    assert compose.traffic(Demand(prompt_tokens="100", output_tokens="28")).longest_tokens() == 128
    uniform = compose.traffic(Demand(prompt_tokens="uniform:1,1000", output_tokens="1"))
    assert 990 <= uniform.longest_tokens() <= 1001


@pytest.mark.parametrize("spelling", ["vllm", "vLLM", "V-LLM", "v.l_lm"])
def test_names_ignore_case_dots_dashes_and_underscores(spelling: str) -> None:
    assert compose.engine_name(spelling) == "vllm"


@pytest.mark.parametrize("name", ["fcfs", "vllm_v1", "sarathi", "orca", "sjf", "static_batch"])
def test_a_policy_runs_on_another_engines_memory(name: str) -> None:
    deployment = compose.deploy(replace(VLLM, scheduler=name))
    result = simulate(compose.scenario(VLLM, deployment, CHAT, 4, 0))
    ends = MEASURE(result).outcomes
    assert ends[End.FINISHED] + ends[End.LENGTH] == 40


@pytest.mark.parametrize("name", ["llama_slots", "ollama_runner"])
def test_a_policy_that_needs_another_kind_of_memory_says_so(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' does not go with vllm"):
        compose.deploy(replace(VLLM, scheduler=name))


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_policy", None)


def test_a_policy_of_the_users_own_is_found_beside_his_files(beside: Path) -> None:
    code = "from policies.schedulers.fcfs import Fcfs\n\nclass Mine(Fcfs):\n    pass\n"
    (beside / "my_policy.py").write_text(code, encoding="utf-8")
    deployment = compose.deploy(replace(VLLM, scheduler="my_policy:Mine"))
    assert type(deployment.scheduler).__name__ == "Mine"


def test_one_seed_merged_is_itself() -> None:
    ((_, point),) = Runner(MEASURE).run(Plan(("vllm",), (2,), (0,), scenarios(), refine=False).runs(Key("vllm", 2)))
    merged = merge([point])
    assert merged.value == merged.low == merged.high == point
