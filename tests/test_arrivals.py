"""Arrivals come at the rate and with the burstiness asked for, in whole picoseconds."""

import pickle
from contextlib import suppress
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import SimctlError, UnknownName, UsageError
from workloads.arrivals import Arrivals, Constant, Gamma, Load, Poisson, parse_load
from workloads.think import ExponentialThink, FixedThink, parse_think

PS_PER_S = 10**12
rates = st.floats(1e-6, 1e6)
processes = st.one_of(
    st.builds(Poisson, rates),
    st.builds(Gamma, rates, st.floats(0.001, 100)),
    st.builds(Constant, rates),
)
counted = st.sampled_from(["closed", "burst", "offline"])
loads = st.one_of(
    st.builds(Load, counted, st.integers(1, 10**6)),
    st.just(Load("single", 1)),
    st.builds(Load, st.sampled_from(["poisson", "constant"]), rates),
    st.builds(Load, st.just("gamma"), rates, st.floats(0.001, 100)),
)


def first(process: Arrivals, n: int, seed: int = 0) -> list[int]:
    return list(islice(process.stream(np.random.default_rng(seed)), n))


def gaps_s(process: Arrivals, n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    times = [0, *first(process, n)]
    return np.array([later - earlier for earlier, later in pairwise(times)]) / PS_PER_S


@given(processes, st.integers(0, 2**32))
def test_arrivals_never_go_back_in_time_and_are_python_integers(process: Arrivals, seed: int) -> None:
    times = first(process, 1500, seed)
    assert times[0] >= 0
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert {type(time) for time in times} == {int}


@given(processes, st.integers(0, 2**32))
def test_a_seed_gives_one_sequence_of_arrivals(process: Arrivals, seed: int) -> None:
    assert first(process, 50, seed) == first(process, 50, seed)


def test_different_seeds_give_different_arrivals() -> None:
    assert first(Poisson(4), 10, seed=0) != first(Poisson(4), 10, seed=1)


@pytest.mark.parametrize("rate", [0.01, 4, 1000])
def test_poisson_gaps_have_the_rate_asked_and_a_cv_of_one(rate: float) -> None:
    gaps = gaps_s(Poisson(rate), 100_000)
    assert gaps.mean() == pytest.approx(1 / rate, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.02)


def test_poisson_counts_in_equal_windows_vary_as_much_as_their_mean() -> None:
    times_s = np.array(first(Poisson(5), 100_000)) / PS_PER_S
    counts = np.bincount(times_s.astype(int))[:-1]
    assert counts.mean() == pytest.approx(5, rel=0.03)
    assert counts.var() == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize("cv", [0.25, 1.0, 2.5])
def test_gamma_gaps_have_the_rate_and_the_cv_asked(cv: float) -> None:
    gaps = gaps_s(Gamma(8, cv), 200_000)
    assert gaps.mean() == pytest.approx(1 / 8, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.04)


@given(st.integers(1, 10_000), st.integers(1, 1000))
def test_constant_arrivals_are_exact_to_the_picosecond_without_drift(rate: int, n: int) -> None:
    times = first(Constant(rate), n)
    assert all(abs(time * rate - k * PS_PER_S) * 2 <= rate for k, time in enumerate(times, 1))


def test_a_constant_rate_means_the_decimal_number_typed() -> None:
    assert first(Constant(0.1), 3) == [10 * PS_PER_S, 20 * PS_PER_S, 30 * PS_PER_S]
    assert first(Constant(3), 3) == [333_333_333_333, 666_666_666_667, PS_PER_S]


def test_a_random_sequence_of_arrivals_is_the_exact_sum_of_its_gaps() -> None:
    # three years in: a float of seconds has lost the picoseconds that these keep
    times = first(Poisson(1e-5), 1000)
    gaps = np.rint(np.random.default_rng(0).exponential(PS_PER_S / 1e-5, 1000))
    assert times[-1] == sum(map(int, gaps.tolist()))


@given(loads)
def test_the_text_of_a_load_reads_back_as_the_same_load(load: Load) -> None:
    assert parse_load(load.text) == load
    assert pickle.loads(pickle.dumps(load)) == load


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("closed:32", Load("closed", 32)),
        ("Closed: 32", Load("closed", 32)),
        ("burst:8", Load("burst", 8)),
        ("offline:500", Load("offline", 500)),
        ("single", Load("single", 1)),
        ("poisson:0.5", Load("poisson", 0.5)),
        ("constant:2", Load("constant", 2)),
        ("gamma:4,2.5", Load("gamma", 4, 2.5)),
        ("gamma:4, cv=2.5", Load("gamma", 4, 2.5)),
    ],
)
def test_a_load_is_read_as_its_kind_and_value(text: str, load: Load) -> None:
    assert parse_load(text) == load


@pytest.mark.parametrize(
    ("text", "process"),
    [
        ("poisson:4", Poisson(4)),
        ("gamma:4,cv=2", Gamma(4, 2)),
        ("constant:4", Constant(4)),
    ],
)
def test_only_a_load_with_a_rate_has_arrivals(text: str, process: Arrivals) -> None:
    assert parse_load(text).open_loop
    assert parse_load(text).arrivals() == process


@pytest.mark.parametrize("text", ["closed:4", "burst:4", "offline:4", "single"])
def test_a_load_of_users_or_prompts_has_no_arrivals_of_its_own(text: str) -> None:
    assert not parse_load(text).open_loop
    with pytest.raises(UsageError, match="no arrival rate"):
        parse_load(text).arrivals()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("closed:0", "whole number"),
        ("closed:-3", "whole number"),
        ("closed:1.5", "whole number"),
        ("closed:", "whole number"),
        ("closed", "whole number"),
        ("burst:nan", "whole number"),
        ("offline:many", "whole number"),
        ("poisson:0", "a rate from"),
        ("poisson:-1", "a rate from"),
        ("poisson:1e9", "a rate from"),
        ("poisson:nan", "not a finite number"),
        ("poisson", "not a finite number"),
        ("constant:0", "a rate from"),
        ("constant:4,2", "takes one"),
        ("poisson:4,2", "takes one"),
        ("gamma:4", "cv"),
        ("gamma:4,0", "cv from"),
        ("gamma:4,-1", "cv from"),
        ("gamma:4,cv=1e3", "cv from"),
        ("gamma:4,nan", "not a finite number"),
        ("gamma:0,1", "a rate from"),
    ],
)
def test_a_load_without_meaning_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_load(text)


@pytest.mark.parametrize("text", ["", "poison:4", "32", "single:2", "trace.csv"])
def test_an_unknown_load_offers_the_known_ones(text: str) -> None:
    with pytest.raises(UnknownName, match="unknown load"):
        parse_load(text)


def test_a_load_made_in_python_is_held_to_the_same_rules() -> None:
    with pytest.raises(UnknownName, match="unknown load 'open'"):
        Load("open", 3)
    with pytest.raises(UsageError, match="whole number"):
        Load("closed", float("nan"))
    with pytest.raises(UsageError, match="takes one"):
        Load("closed", 4, cv=2)


@given(st.text(max_size=30))
def test_no_text_ends_in_anything_but_a_load_or_an_explained_error(text: str) -> None:
    with suppress(SimctlError):
        assert parse_load(text).value > 0


def test_a_fixed_think_time_is_the_same_every_time() -> None:
    think = parse_think("10s")
    assert think == FixedThink(10)
    assert list(islice(think.stream(np.random.default_rng(0)), 3)) == [10 * PS_PER_S] * 3


def test_no_think_time_is_zero() -> None:
    assert next(parse_think("0").stream(np.random.default_rng(0))) == 0


def test_an_exponential_think_time_has_its_mean_and_a_cv_of_one() -> None:
    think = parse_think("exp:500ms")
    pauses = list(islice(think.stream(np.random.default_rng(0)), 100_000))
    assert {type(pause) for pause in pauses} == {int}
    assert np.mean(pauses) == pytest.approx(0.5 * PS_PER_S, rel=0.02)
    assert np.std(pauses) / np.mean(pauses) == pytest.approx(1, rel=0.02)


@given(st.floats(1e-9, 1e6), st.sampled_from([FixedThink, ExponentialThink]))
def test_the_text_of_a_think_time_reads_back(mean_s: float, family: type[FixedThink] | type[ExponentialThink]) -> None:
    think = family(mean_s)
    assert parse_think(think.text) == think
    assert pickle.loads(pickle.dumps(think)) == think


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10", "needs a unit"),
        ("-1s", "negative"),
        ("nan", "not a number"),
        ("", "not a number"),
        ("exp:", "not a number"),
        ("exp:-1s", "negative"),
        ("exp:0s", "mean zero"),
        ("normal:3s", "neither a duration"),
    ],
)
def test_a_think_time_without_meaning_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_think(text)
