"""What the parts of a study promise each by itself: judging, drift, the cliff's shape, pairs, runs and refinements."""

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sim import runner as running
from sim.batch import Batch
from sim.cost import Stride
from sim.judging import Judgement, batches, interval
from sim.paired import crossing, gap, student
from sim.runner import Key, Progress, Run, Runner, cores, in_parallel
from sim.scenario import Scenario
from sim.slowed import Slowed
from sim.stability import falls_behind, pile_up
from sim.steepness import Rise, steepest_rise
from sim.sweep import Plan, sweep
from sim.variant import open_budget
from sim.window import Window

shares = st.lists(st.floats(0, 1), min_size=2, max_size=15)

# -- judging


def bound(values: list[float], cut: float, quantile: float) -> float:
    """The usual one-sided bound of the values, those above the cut taken down to it."""
    kept = np.minimum(values, cut)
    return float(kept.mean() - quantile * kept.std(ddof=1) / len(kept) ** 0.5)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_lower_end_is_the_best_bound_that_any_cut_of_the_best_batches_gives(values: list[float]) -> None:
    cuts = np.linspace(min(values), max(values), 2001)
    best = max(bound(values, cut, 2.132) for cut in cuts)  # five batches: four degrees of freedom
    assert interval(tuple(values)).low == pytest.approx(max(best, min(values)), abs=5e-3)


@given(shares)
def test_what_is_sure_to_be_missed_is_what_is_sure_to_be_met_seen_from_the_other_side(values: list[float]) -> None:
    found, other = interval(tuple(values)), interval(tuple(1 - value for value in values))
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


@given(shares, st.randoms(use_true_random=False))
def test_the_order_of_batches_does_not_count(values: list[float], chance: Any) -> None:
    mixed = chance.sample(values, len(values))
    found, other = interval(tuple(values)), interval(tuple(mixed))
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 9))
def test_batches_that_agree_leave_nothing_open(value: float, count: int) -> None:
    found = interval((value,) * count)
    assert (found.low, found.high) == pytest.approx((value, value))
    assert found.judge(value + 1e-6) is Judgement.FAIL
    assert found.judge(value - 1e-6) is Judgement.PASS


@pytest.mark.parametrize(("count", "quantile"), [(10, 1.833), (15, 1.761), (40, 1.685)])
def test_few_batches_are_trusted_as_student_says(count: int, quantile: float) -> None:
    """Batches that lie evenly around their mean gain nothing by a cut."""
    values = 0.5 + 0.01 * (np.arange(count) - (count - 1) / 2)
    expected = quantile * values.std(ddof=1) / count**0.5
    assert 0.5 - interval(tuple(values.tolist())).low == pytest.approx(expected, rel=0.02)


@given(st.integers(5, 200))
def test_batches_are_consecutive_and_of_one_size_as_far_as_that_goes(count: int) -> None:
    for kept in range(0, count + 1, max(1, count // 7)):
        found = batches(np.arange(count) < kept)
        assert list(found) == sorted(found, reverse=True)
        sizes = [len(part) for part in np.array_split(np.arange(count), 5)]
        assert sum(share * size for share, size in zip(found, sizes, strict=True)) == pytest.approx(kept)


# -- requests that pile up


def log_of(lives: list[tuple[int, int]]) -> dict[str, Any]:
    return {
        "arrival_ps": np.array([start for start, _ in lives], np.int64),
        "end_ps": np.array([start + length for start, length in lives], np.int64),
    }


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 500)), max_size=60), st.randoms(use_true_random=False))
def test_what_piles_up_is_who_came_and_has_not_gone(lives: list[tuple[int, int]], chance: Any) -> None:
    mixed = chance.sample(lives, len(lives))
    parts = pile_up(log_of(mixed), Window(200, 700))
    came = sum(200 < start <= 700 for start, _ in lives)
    went = sum(200 < start + length <= 700 for start, length in lives)
    assert len(parts) == (5 if came else 0)
    if came:
        assert sum(parts) / 5 == pytest.approx((came - went) / came)
    for number, part in enumerate(parts):
        low, high = 200 + 100 * number, 300 + 100 * number
        stay = sum((low < start <= high) - (low < start + length <= high) for start, length in lives)
        assert part == pytest.approx(5 * stay / came)


@given(st.floats(0.1, 100))
def test_who_answers_less_than_nine_in_ten_falls_behind_whatever_the_queue_does(rate: float) -> None:
    assert falls_behind((), 0.89 * rate, rate)
    assert falls_behind((-0.1,) * 5, 0.89 * rate, rate)
    assert not falls_behind((), 0.91 * rate, rate)


@given(st.floats(0.001, 0.2))
def test_a_queue_that_grows_by_less_than_two_in_a_hundred_does_not_count(drift: float) -> None:
    assume(abs(drift - 0.02) > 1e-6)
    assert falls_behind((drift,) * 5, 10.0, 10.0) is (drift > 0.02)
    assert not falls_behind((-drift,) * 5, 10.0, 10.0)


def test_two_in_a_hundred_count() -> None:
    assert falls_behind((0.02,) * 5, 10.0, 10.0)
    assert falls_behind((0.5,) * 5, 9.0, 10.0)
    assert not falls_behind((0.0,) * 5, 9.0, 10.0)


# -- the cliff's shape


@given(st.floats(1.01, 8), st.floats(1, 1e4))
def test_a_wait_that_grows_as_the_cube_of_the_users_is_steep_and_one_that_grows_less_is_not(
    power: float, unloaded: float
) -> None:
    assume(abs(power - 3) > 1e-6)
    waits = {users: unloaded * users**power for users in (1, 2, 4, 8)}
    found = steepest_rise(waits)
    assert (found is not None) is (power > 3)
    if found is not None:
        assert (found.first, found.last) == (1, 8)
        assert found.height == pytest.approx(8**power)


@given(st.floats(1.01, 6))
def test_a_stretch_counts_from_twice_the_unloaded_wait_and_one_and_a_half_times_its_own_foot(height: float) -> None:
    assume(min(abs(height - 2), abs(height - 1.5)) > 1e-6)
    assert (steepest_rise({100: 1.0, 101: height}) is not None) is (height >= 2)
    lifted = {100: 1.0, 200: 5.0, 201: 5.0 * height}
    assert (steepest_rise(lifted) is not None) is (height >= 1.5)


@given(st.floats(2, 50), st.floats(2, 50))
def test_of_two_steep_stretches_the_higher_one_is_the_cliff(one: float, other: float) -> None:
    assume(abs(one - other) > 1e-6)
    found = steepest_rise({10: 1.0, 11: one, 100: one, 101: one * other})
    assert found is not None
    assert (found.first, found.last) == ((10, 11) if one > other else (100, 101))
    assert found.height == pytest.approx(max(one, other))


def test_loads_without_a_wait_are_not_compared_with() -> None:
    assert steepest_rise({1: 0.0, 2: 1.0, 3: 100.0, 4: 0.0}) == Rise(2, 3, 100.0)
    assert steepest_rise({1: 0.0, 2: 1.0}) is None


# -- slower steps


class Known:
    """One price for everything."""

    trust = "measured"

    def __init__(self, stride: Stride) -> None:
        self._stride = stride

    def stride(self, _: Batch) -> Stride:
        return self._stride


@given(st.integers(1, 10**12), st.integers(0, 10**9), st.integers(1, 99), st.integers(0, 10**11), st.floats(0.25, 4))
def test_every_part_of_a_slower_step_is_slower_by_the_factor_and_it_repeats_as_often(
    first: int, growth: int, steps: int, prefill: int, factor: float
) -> None:
    slow = Slowed(Known(Stride(first, growth, steps, prefill)), factor).stride(Batch(1, ()))
    assert slow.steps == steps
    assert slow.first_ps == pytest.approx(first * factor, abs=1)
    assert slow.growth_ps == pytest.approx(growth * factor, abs=1)
    assert slow.prefill_ps == pytest.approx(prefill * factor, abs=1)


# -- pairs


@given(st.lists(st.floats(1, 100), min_size=2, max_size=9), st.lists(st.floats(1, 100), min_size=9, max_size=9))
def test_the_interval_of_a_difference_is_that_of_the_ratio_around_the_baseline(
    ours: list[float], theirs: list[float]
) -> None:
    theirs = theirs[: len(ours)]
    found = gap(ours, theirs)
    logs = np.log(np.array(ours) / np.array(theirs))
    reach = float(np.exp(student(len(ours) - 1) * logs.std(ddof=1) / len(ours) ** 0.5))
    base = float(np.mean(theirs))
    assert found.value == pytest.approx(np.mean(ours) - base)
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx((found.value + base) / reach - base, rel=1e-6, abs=1e-6 * base)
    assert found.high == pytest.approx((found.value + base) * reach - base, rel=1e-6, abs=1e-6 * base)
    assert found.certain is (found.low > 0 or found.high < 0)


@pytest.mark.parametrize("figure", [3.0, 0.0])
def test_runs_that_are_the_same_do_not_differ_for_sure(figure: float) -> None:
    assert not gap([figure] * 3, [figure] * 3).certain


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_figures_that_may_be_nothing_are_compared_by_their_differences(differences: list[float]) -> None:
    found = gap([0.0, *differences], [0.0] * (len(differences) + 1))
    spread = float(np.std([0.0, *differences], ddof=1))
    reach = student(len(differences)) * spread / (len(differences) + 1) ** 0.5
    assert found.low == pytest.approx(found.value - reach, abs=1e-9)
    assert found.high == pytest.approx(found.value + reach, abs=1e-9)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 6.314), (4, 2.132), (10, 1.812), (11, 1.796), (30, 1.697)])
def test_intervals_of_pairs_are_students_for_nine_in_ten(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, rel=0.008)


@given(st.floats(0, 0.94), st.floats(0.951, 1), st.integers(1, 50), st.integers(1, 50))
def test_the_crossing_lies_on_the_line_between_the_last_good_load_and_the_first_bad_one(
    bad: float, good: float, users: int, more: int
) -> None:
    found = crossing({users + more: bad, users: good})
    assert found is not None
    assert users <= found <= users + more
    share = good + (bad - good) * (found - users) / more
    assert share == pytest.approx(0.95)
    assert crossing({users: bad}) is None or users == 1
    assert crossing({users: 0.95}) is None


# -- what a point costs


@given(st.floats(0.001, 1000), st.none() | st.integers(1, 10_000))
def test_an_open_load_warms_up_for_a_quarter_of_what_is_measured_and_ends_with_a_tenth(
    rate: float, asked: int | None
) -> None:
    budget = open_budget(rate, asked)
    assert budget.warmup - 1 < budget.measured / 4 <= budget.warmup
    assert budget.cooldown - 1 < budget.measured / 10 <= budget.cooldown
    assert budget.total == budget.warmup + budget.measured + budget.cooldown


# -- runs


def run_of(users: int, requests: int = 1) -> Run:
    class Load:
        pass

    class Asked:
        seed = 0
        workload = Load()

    Asked.workload.requests = requests  # type: ignore[attr-defined]
    return Run(Key("v", users), cast(Scenario, Asked()))


class Notebook:
    """A memory in which some runs are written."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self.known = dict(known)
        self.kept: list[str] = []

    def recall(self, name: str) -> int | None:
        return self.known.get(name)

    def keep(self, name: str, measured: int) -> None:
        self.known[name] = measured
        self.kept.append(name)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Instead of simulating, the scenarios asked for; a measurement is how many have been asked for."""
    asked: list[Any] = []

    def note(scenario: Any) -> Any:
        asked.append(scenario)
        return len(asked)

    monkeypatch.setattr(running, "simulate", note)
    return asked


@given(st.lists(st.integers(1, 9), max_size=8, unique=True), st.sets(st.integers(1, 9)))
def test_what_is_remembered_is_not_run_again_and_what_is_run_is_remembered(users: list[int], known: set[int]) -> None:
    runs = [run_of(number) for number in users]
    memory = Notebook({run_of(number).name: -number for number in known})
    reports: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "simulate", lambda scenario: runs[[r.scenario for r in runs].index(scenario)].key.users)
        measured = list(Runner[int](lambda users: cast(int, users), report=reports.append, memory=memory).run(runs))
    assert measured == [(Key("v", number), -number if number in known else number) for number in users]
    assert memory.kept == [run_of(number).name for number in users if number not in known]
    assert [(one.done, one.planned, one.doing.users) for one in reports] == [
        (place + 1, len(users), number) for place, number in enumerate(users)
    ]


def test_runs_are_told_apart_by_variant_load_and_seed() -> None:
    assert run_of(3).name == "v at 3, seed 0"


def test_progress_goes_on_over_later_rounds(simulated: list[Any]) -> None:
    reports: list[tuple[int, int]] = []
    runner = Runner[int](lambda _: 0, report=lambda each: reports.append((each.done, each.planned)))
    for users in ([1, 2], [3]):
        list(runner.run([run_of(number) for number in users]))
    assert reports == [(1, 2), (2, 2), (3, 3)]
    assert len(simulated) == 3


@pytest.mark.parametrize(
    ("processes", "rounds", "parallel"),
    [
        (2, [[10_000, 9_999]], [False]),
        (2, [[10_000, 10_000]], [True]),
        (1, [[10_000, 10_000]], [False]),
        (2, [[20_000]], [False]),  # one run alone is not divided
        (2, [[10_000], [5_000, 5_000]], [False, True]),
        (2, [[10_000, 10_000], [1, 1], [1]], [True, True, False]),  # they are there already
    ],
)
def test_processes_are_started_once_there_is_enough_to_do_for_several(
    processes: int,
    rounds: list[list[int]],
    parallel: list[bool],
    simulated: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    def divided(work: Callable[[Any], int], items: Sequence[Any], processes: int) -> Any:
        taken.append(processes)
        return (work(item) for item in items)

    monkeypatch.setattr(running, "in_parallel", divided)
    runner = Runner[int](lambda _: 0, processes)
    seen = []
    for requests in rounds:
        before = len(taken)
        assert len(list(runner.run([run_of(1, count) for count in requests]))) == len(requests)
        seen.append(len(taken) > before)
    assert seen == parallel
    assert set(taken) <= {processes}


def square(number: int) -> int:
    if number < 0:
        raise ValueError("below nothing")
    return number * number


def test_work_on_many_items_comes_back_in_their_order_and_leaves_interrupts_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    work = in_parallel(square, range(7), 2)
    assert list(work) == [number**2 for number in range(7)]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_in_a_process_comes_out_here_and_threads_that_die_later_are_still_heard_of() -> None:
    before = threading.excepthook
    with pytest.raises(ValueError, match="below nothing"):
        list(in_parallel(square, [1, -1], 2))
    assert threading.excepthook is before


def test_processes_are_started_deaf_to_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    real = signal.signal

    def note(number: Any, action: Any) -> Any:
        heard.append((number, action))
        return real(number, action)

    monkeypatch.setattr(signal, "signal", note)
    before = signal.getsignal(signal.SIGINT)
    list(in_parallel(square, [1], 2))
    assert heard[0] == (signal.SIGINT, signal.SIG_IGN)
    assert (signal.SIGINT, before) in heard[1:]


def test_there_is_a_core_to_run_on() -> None:
    assert cores() >= 1


# -- refinements


class Marked:
    """A scenario that says which one it is."""

    def __init__(self, users: int | None, seed: int) -> None:
        self.users, self.seed = users, seed


def planned(
    users: tuple[int, ...], seeds: tuple[int, ...], *, refine: bool, variants: tuple[str, ...] = ("v",)
) -> Plan:
    return Plan(variants, users, seeds, lambda _, number, seed: cast(Any, Marked(number, seed)), refine=refine)


class Answers(Runner[Any]):
    """Every run measures as its load and seed."""

    def _outcomes(self, runs: Sequence[Run]) -> list[Any]:
        return [(cast(Any, run.scenario).users, cast(Any, run.scenario).seed) for run in runs]


@given(st.integers(1, 4), st.integers(0, 9))
def test_a_load_too_close_to_call_is_run_with_three_times_the_seeds_and_no_more(count: int, first: int) -> None:
    seeds = tuple(range(first, first + count))
    found = sweep(planned((5,), seeds, refine=True), Answers(cast(Any, None)), lambda _: Judgement.UNDECIDED)
    assert found.of("v")[5] == [(5, seed) for seed in range(first, first + 3 * count)]


@given(st.integers(1, 60), st.integers(0, 8), st.integers(1, 3))
def test_every_load_that_is_not_hopeless_is_judged_by_all_its_seeds(sure: int, unsure: int, count: int) -> None:
    judged: list[int] = []

    def judge(seeds: list[Any]) -> Judgement:
        judged.append(len(seeds))
        users = seeds[0][0]
        return Judgement.PASS if users <= sure else Judgement.UNDECIDED if users <= sure + unsure else Judgement.FAIL

    grid, lost = (1, 2, 4, 8, 16, 32, 64, 128), sure + unsure + 20
    plan = planned(grid, tuple(range(count)), refine=True)
    found = sweep(plan, Answers(cast(Any, None)), judge, hopeless=lambda seeds: seeds[0][0] > lost)
    for users, seeds in found.of("v").items():
        tried_once = users > lost and users in grid  # what lies between is run with all at once
        enough = 1 if tried_once else 3 * count if sure < users <= sure + unsure else count
        assert [seed for _, seed in seeds] == list(range(enough))
    passing = [users for users in found.of("v") if users <= sure]
    failing = [users for users in found.of("v") if users > sure + unsure]
    assert any(users > max(passing, default=0) for users in failing)
    assert all(one < other for one, other in pairwise(found.of("v")))


def test_of_each_variant_is_told_when_it_is_done_and_before_the_next_begins() -> None:
    told: list[tuple[str, int]] = []
    sweep(
        planned((1, 2), (0,), refine=False, variants=("a", "b")),
        Answers(cast(Any, None)),
        lambda _: Judgement.PASS,
        known=lambda name, found: told.append((name, len(found.points))),
    )
    assert told == [("a", 2), ("b", 4)]
