"""Every reported number against brute force over single tokens, or against sums done by hand."""

import pickle
from dataclasses import fields, replace
from functools import partial
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from policies.caches.paged import PagedCache
from policies.schedulers.fcfs import Fcfs
from policies.schedulers.vllm_v1 import VllmV1
from sim.clock import PS_PER_MS, PS_PER_S
from sim.definitions import METRIC_DEFINITIONS
from sim.journal import Columns
from sim.latency import latencies, ttft_parts
from sim.merging import merge
from sim.metrics import PointMetrics, summarise
from sim.occupancy import presence
from sim.percentiles import PERCENTS, Progressions, stats_of
from sim.request import End
from sim.scenario import Patience, ReplicaRecord, Result
from sim.slo import SLO_PRESETS, Slo, meets
from sim.stalls import longest_gaps, range_maximum
from sim.token_gaps import token_gaps
from sim.window import Window, emitted_tokens, measured_rows, measured_window, steps_ended, stride_ends
from tests.serving import StepTimes, needs_own_columns, serve, witnessed
from workloads.arrivals import Constant, Poisson
from workloads.distributions import Fixed, Uniform
from workloads.open_loop import Burst, OpenLoop
from workloads.users import ClosedLoop

COST = StepTimes(step_ps=8 * PS_PER_MS, row_ps=20_000_000, cell_ps=90_000, prompt_ps=50_000_000)
NO_SLO = Slo()

loads = st.builds(
    ClosedLoop,
    users=st.integers(1, 6),
    requests=st.integers(8, 24),
    prompt=st.integers(1, 60).map(lambda most: Uniform(1, most)),
    output=st.integers(1, 40).map(lambda most: Uniform(1, most)),
    warmup=st.integers(0, 3),
    cooldown=st.integers(0, 3),
)
# the smallest pool holds one request of 100 tokens and makes several of them push each other out
pools = st.sampled_from([8, 14, 1000])


def columns(**named: list[int]) -> Columns:
    return {name: np.array(values, np.int64) for name, values in named.items()}


def tokens_in(instants: dict[int, list[int]], window: Window) -> int:
    return sum(window.start_ps < time <= window.end_ps for times in instants.values() for time in times)


def gaps_in(instants: dict[int, list[int]], window: Window) -> NDArray[np.int64]:
    pairs = [(after, after - before) for times in instants.values() for before, after in pairwise(times)]
    return np.array([gap for end, gap in pairs if window.start_ps < end <= window.end_ps], np.int64)


# -- tokens and gaps, against a witness who sees every token


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=needs_own_columns)])
@given(loads, pools, st.integers(0, 9), st.data())
def test_tokens_and_gaps_of_any_window_are_those_that_a_witness_counts(
    replicas: int, load: ClosedLoop, blocks: int, seed: int, data: st.DataObject
) -> None:
    result, instants = witnessed(
        load, COST, cache=partial(PagedCache, blocks), replicas=replicas, seed=seed, max_num_batched_tokens=32
    )
    edges = st.one_of(st.integers(0, result.end_ps), st.sampled_from([*chain(*instants.values())]))
    start, end = sorted((data.draw(edges), data.draw(edges)))
    window = Window(start, end)
    expected, found = gaps_in(instants, window), token_gaps(result, window)
    assert emitted_tokens(result, window) == tokens_in(instants, window)
    assert found.count == len(expected)
    if found.count:
        assert found.mean() == pytest.approx(expected.mean())
        assert [found.percentile(percent) for percent in (0, *PERCENTS, 100)] == pytest.approx(
            np.percentile(expected, (0, *PERCENTS, 100)).tolist()
        )


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=needs_own_columns)])
@given(loads, st.integers(0, 9))
def test_latencies_are_those_of_the_tokens_a_witness_saw(replicas: int, load: ClosedLoop, seed: int) -> None:
    result, instants = witnessed(load, COST, replicas=replicas, seed=seed, max_num_batched_tokens=32)
    log, measured = result.requests, latencies(result)
    for row, number in enumerate(log["id"].tolist()):
        times = [time - int(log["arrival_ps"][row]) for time in instants[number]]
        assert measured.ttft_s[row] == times[0] / PS_PER_S
        assert measured.e2e_s[row] == times[-1] / PS_PER_S
        if len(times) > 1:
            assert measured.tpot_s[row] == pytest.approx((times[-1] - times[0]) / PS_PER_S / (len(times) - 1))
            assert longest_gaps(result)[row] == np.diff(times).max()
        else:
            assert np.isnan(measured.tpot_s[row])
            assert np.isnan(measured.stall_s[row])


@needs_own_columns
@given(loads, st.integers(0, 9))
def test_the_stall_of_an_interrupted_request_covers_its_interruption(load: ClosedLoop, seed: int) -> None:
    result, instants = witnessed(load, COST, cache=partial(PagedCache, 8), seed=seed)
    for number, stall in zip(result.requests["id"].tolist(), longest_gaps(result).tolist(), strict=True):
        assert stall == max(np.diff(instants[number]), default=0)


@given(loads, st.integers(0, 9))
def test_windows_that_adjoin_share_no_token_and_lose_none(load: ClosedLoop, seed: int) -> None:
    result = serve(VllmV1(max_num_batched_tokens=32), load, COST, seed=seed)
    third = result.end_ps // 3
    parts = [Window(0, third), Window(third, 2 * third), Window(2 * third, result.end_ps)]
    assert sum(emitted_tokens(result, part) for part in parts) == result.requests["output_tokens"].sum()


@pytest.mark.parametrize(
    ("time_ps", "steps"), [(99, [0, 0]), (110, [1, 0]), (111, [1, 0]), (122, [2, 0]), (137, [3, 1])]
)
def test_a_step_has_ended_at_its_last_picosecond_and_not_before(time_ps: int, steps: list[int]) -> None:
    strides = columns(start_ps=[100, 136], first_ps=[10, 1], growth_ps=[2, 0], steps=[3, 1])
    assert stride_ends(strides).tolist() == [136, 137]
    assert steps_ended(strides, time_ps).tolist() == steps


def by_hand(strides: Columns, gaps: Columns, log: Columns) -> Result:
    """What one replica would leave behind."""
    record = ReplicaRecord(strides, gaps, columns(time_ps=[]), 0, 100)
    return Result(None, log, (record,), 161, 0)  # type: ignore[arg-type]


def test_requests_that_wait_while_others_prompts_run_alone_see_one_long_gap() -> None:
    # request 0 decodes at 20, then waits for the prompts of 1 and 3 (until 120) and of 2 (until 150), then 0-2 decode
    strides = columns(
        start_ps=[0, 10, 20, 120, 150],
        first_ps=[10, 10, 100, 30, 5],
        growth_ps=[0, 0, 0, 0, 1],
        steps=[1, 1, 1, 1, 2],
        decodes=[0, 1, 0, 0, 3],
        prompt_tokens=[4, 0, 40, 12, 0],
        context=[0, 0, 0, 0, 0],
    )
    log = columns(id=[0, 1, 2, 3], first_token_ps=[10, 120, 150, 120], end_ps=[161, 161, 161, 120])
    result = by_hand(strides, columns(end_ps=[], gap_ps=[]), log)
    ended = [(20, 10), (155, 135), (155, 35), (155, 5), (161, 6), (161, 6), (161, 6)]
    for start in range(0, 162, 5):
        for end in range(start, 163):
            gaps = token_gaps(result, Window(start, end))
            expected = sorted(gap for time, gap in ended if start < time <= end)
            assert [gaps.nth(place) for place in range(gaps.count)] == expected
    assert longest_gaps(result).tolist() == [135, 35, 6, 0]


def test_an_interruption_counts_once_even_if_nobody_decodes_until_it_is_over() -> None:
    # tokens at 10 and 20, then the memory is needed elsewhere; computed again until 100, tokens at 110 and 120
    strides = columns(
        start_ps=[0, 10, 20, 100],
        first_ps=[10, 10, 80, 10],
        growth_ps=[0, 0, 0, 0],
        steps=[1, 1, 1, 2],
        decodes=[0, 1, 0, 1],
        prompt_tokens=[4, 0, 40, 0],
        context=[0, 0, 0, 0],
    )
    log = columns(id=[0], first_token_ps=[10], end_ps=[120], stall_ps=[80])
    result = by_hand(strides, columns(end_ps=[100], gap_ps=[80]), log)
    gaps = token_gaps(result, Window(0, 120))
    assert [gaps.nth(place) for place in range(gaps.count)] == [10, 10, 10, 80]
    assert longest_gaps(result).tolist() == [80]


# -- progressions and ranges

progressions = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9), st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=8
)


@given(progressions, st.sampled_from([1, 10**9]))
def test_percentiles_of_progressions_are_those_of_their_terms_written_out(
    rows: list[tuple[int, int, int, int]], unit: int
) -> None:
    parts = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    found = Progressions(parts[0] * unit, parts[1] * unit, parts[2], parts[3])
    terms = [(a + d * k) * unit for a, d, n, weight in rows for k in range(n) for _ in range(weight)]
    assert found.count == len(terms)
    stats = found.stats()
    assert stats == stats_of(np.array(terms, np.float64)) or (
        stats is not None
        and [stats.mean, stats.p50, stats.p90, stats.p95, stats.p99]
        == pytest.approx([np.mean(terms), *np.percentile(terms, PERCENTS)])
    )
    assert [found.nth(place) for place in range(len(terms))] == sorted(terms)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.data())
def test_the_maximum_of_any_range_is_found(values: list[int], data: st.DataObject) -> None:
    edge = st.integers(0, len(values))
    ranges = data.draw(st.lists(st.tuples(edge, edge), max_size=30))
    begin, stop = (np.array([pair[side] for pair in ranges], np.int64) for side in (0, 1))
    expected = [max(values[first:last], default=0) for first, last in ranges]
    assert range_maximum(np.array(values), begin, stop).tolist() == expected


def test_a_mean_of_a_million_ten_second_gaps_does_not_overflow() -> None:
    ten_s = 10 * PS_PER_S
    one = [np.array([value], np.int64) for value in (ten_s, 0, 1000, 1000)]
    assert Progressions(*one).mean() == ten_s


# -- the window


def test_warm_up_and_cool_down_are_left_out_of_latencies_and_bound_the_window() -> None:
    load = OpenLoop(Constant(10), 10, Fixed(4), Fixed(3), warmup=2, cooldown=3)
    result = serve(VllmV1(), load, COST)
    assert result.requests["id"][measured_rows(result)].tolist() == [2, 3, 4, 5, 6]
    assert measured_window(result) == Window(300 * PS_PER_MS, 800 * PS_PER_MS)
    metrics = summarise(result, NO_SLO)
    assert metrics.requests == 5
    assert metrics.window_s == 0.5
    assert metrics.ttft is not None
    assert metrics.ttft.samples == 5


def test_without_cool_down_the_window_ends_with_the_last_answer() -> None:
    result = serve(VllmV1(), Burst(3, Fixed(4), Fixed(3)), COST)
    assert measured_window(result) == Window(0, int(result.requests["end_ps"].max()))


def test_tokens_are_counted_when_they_come_out_and_not_when_their_request_ends() -> None:
    # one token every 10 ms for 1 s; the window is the second half, in which 50 come out, though 101 belong to an answer
    load = OpenLoop(Constant(2), 3, Fixed(1), Fixed(101), warmup=0, cooldown=2)
    result = serve(VllmV1(), load, StepTimes(10 * PS_PER_MS))
    metrics = summarise(result, NO_SLO)
    assert metrics.output_tps == 100.0
    assert metrics.completed_tps == 0.0


# -- by hand: two requests, one at a time; a step takes 1 ms and a prompt token 1 ms more


@pytest.fixture(scope="module")
def two() -> PointMetrics:
    result = serve(Fcfs(), Burst(2, Fixed(4), Fixed(5)), StepTimes(prompt_ps=PS_PER_MS))
    return summarise(result, Slo(ttft_s=0.006))


def test_the_second_of_two_waits_for_the_first(two: PointMetrics) -> None:
    assert two.ttft is not None
    assert two.e2e is not None
    assert two.tpot is not None
    assert two.queue is not None
    assert (two.ttft.mean, two.ttft.p50) == pytest.approx((9.5, 9.5))  # 5 and 14
    assert two.e2e.mean == pytest.approx(13.5)  # 9 and 18
    assert two.tpot.mean == pytest.approx(1.0)
    assert (two.queue.front, two.queue.engine) == pytest.approx((0.0, 4.5))  # 0 and 9


def test_rates_are_per_second_of_the_window(two: PointMetrics) -> None:
    assert two.window_s == pytest.approx(0.018)
    assert two.output_tps == pytest.approx(10 / 0.018)
    assert two.completed_tps == pytest.approx(10 / 0.018)
    assert two.request_rate == pytest.approx(2 / 0.018)
    assert two.goodput == pytest.approx(1 / 0.018)


def test_places_taken_are_weighted_by_time(two: PointMetrics) -> None:
    assert (two.running.mean, two.running.max) == pytest.approx((1.0, 1.0))
    assert (two.waiting.mean, two.waiting.max) == pytest.approx((0.5, 1.0))


def test_attainment_is_the_share_that_kept_every_bound(two: PointMetrics) -> None:
    assert (two.met, two.requests, two.attainment) == (1, 2, 0.5)
    assert (two.breaches.ttft, two.breaches.tpot, two.breaches.finished) == (1, 0, 0)


# -- what the first token waited for


@pytest.mark.parametrize("blocks", [pytest.param(8, marks=needs_own_columns), 1000])
def test_the_parts_of_the_time_to_first_token_sum_to_it(blocks: int) -> None:
    load = ClosedLoop(6, 60, Uniform(1, 60), Uniform(1, 40))
    result = serve(VllmV1(max_num_batched_tokens=32), load, COST, partial(PagedCache, blocks))
    log = result.requests
    parts = ttft_parts(log)
    assert np.array_equal(sum(parts.values()), log["first_token_ps"] - log["arrival_ps"])
    assert all((times >= 0).all() for times in parts.values())
    assert parts["own_prefill"].all()
    metrics = summarise(result, NO_SLO)
    assert metrics.ttft is not None
    assert metrics.ttft_breakdown is not None
    means = [getattr(metrics.ttft_breakdown, field.name) for field in fields(metrics.ttft_breakdown)]
    assert sum(means) == pytest.approx(metrics.ttft.mean)


# -- places and memory

intervals = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), max_size=12)


@given(intervals, st.integers(0, 40), st.integers(1, 40))
def test_presence_is_what_looking_at_every_instant_gives(rows: list[tuple[int, int]], start: int, length: int) -> None:
    since, until = (np.array(side, np.int64) for side in ([a for a, _ in rows], [a + b for a, b in rows]))
    level = presence(since, until, Window(start, start + length))
    seen = [sum(a <= instant < a + b for a, b in rows) for instant in range(start, start + length)]
    assert level.mean == pytest.approx(sum(seen) / length)
    assert level.max == max(seen)


def test_memory_shares_and_what_is_free_fill_the_cache() -> None:
    result = serve(VllmV1(), ClosedLoop(4, 80, Uniform(1, 80), Uniform(1, 40)), COST, partial(PagedCache, 30))
    kv = summarise(result, NO_SLO).kv
    assert kv is not None
    (usage,) = (record.usage for record in result.replicas)
    free = usage["free"].mean() / result.replicas[0].capacity_tokens
    assert kv.used.mean + kv.reserved + kv.internal + kv.external + free == pytest.approx(1.0)
    assert 0 < kv.used.mean < kv.used.max <= 1
    assert kv.internal > 0


# -- objectives


@given(st.floats(0.001, 1), st.floats(1, 3), st.sampled_from(["ttft_s", "tpot_s", "e2e_s", "stall_s"]))
def test_relaxing_a_bound_never_loses_a_request(bound: float, factor: float, name: str) -> None:
    kept = meets(Slo(**{name: bound}), BUSY)
    assert not (kept & ~meets(Slo(**{name: bound * factor}), BUSY)).any()


BUSY = latencies(serve(VllmV1(max_num_seqs=4), ClosedLoop(12, 80, Uniform(1, 400), Uniform(1, 90)), COST))


def test_every_bound_can_be_broken_by_itself() -> None:
    for name in ("ttft_s", "tpot_s", "e2e_s", "stall_s"):
        times = getattr(BUSY, name)
        kept = meets(Slo(**{name: float(np.nanmedian(times))}), BUSY)
        assert np.array_equal(kept, ~(times > np.nanmedian(times)))
        assert 0 < kept.sum() < len(kept)


def test_a_request_that_was_refused_meets_no_objective_and_has_no_latency() -> None:
    result = serve(VllmV1(max_model_len=10), Burst(4, Fixed(10), Fixed(5)), COST)
    metrics = summarise(result, NO_SLO)
    assert metrics.outcomes[End.REJECTED] == sum(metrics.outcomes.values()) == metrics.requests == 4
    assert metrics.attainment == 0.0
    assert metrics.breaches.finished == 4
    assert (metrics.ttft, metrics.itl, metrics.ttft_breakdown, metrics.queue) == (None, None, None, None)
    assert metrics.output_tps == 0.0


@pytest.mark.parametrize(("number", "counts"), [(0, 0), (1, 1), (3, 1), (4, 0)])
def test_requests_never_answered_count_as_attempts_that_failed(number: int, counts: int) -> None:
    result = serve(VllmV1(), Burst(5, Fixed(10), Fixed(5), warmup=1, cooldown=1), COST)
    kept = result.requests["id"] != number
    lost = replace(result, requests={name: column[kept] for name, column in result.requests.items()}, unanswered=1)
    metrics = summarise(lost, SLO_PRESETS["chat"])
    assert (metrics.requests, metrics.unanswered, metrics.met) == (3, counts, 3 - counts)
    assert (metrics.breaches.ttft, metrics.breaches.e2e, metrics.breaches.finished) == (counts, 0, counts)
    assert summarise(lost, SLO_PRESETS["agent"]).breaches.e2e == counts


def test_a_run_of_warm_up_alone_measures_nothing() -> None:
    result = serve(VllmV1(), Burst(3, Fixed(10), Fixed(5), warmup=3), COST)
    assert measured_window(result) == Window(0, 0)
    metrics = summarise(result, NO_SLO)
    assert (metrics.requests, metrics.attainment, metrics.output_tps, metrics.running.max) == (0, None, 0.0, 0.0)


def test_a_bound_that_is_just_reached_is_kept() -> None:
    alone = serve(Fcfs(), Burst(1, Fixed(4), Fixed(5)), StepTimes(prompt_ps=PS_PER_MS))
    kept = Slo(ttft_s=0.005, tpot_s=0.001, e2e_s=0.009, stall_s=0.001)
    assert summarise(alone, kept).met == 1
    for name in ("ttft_s", "tpot_s", "e2e_s", "stall_s"):
        assert summarise(alone, replace(kept, **{name: getattr(kept, name) * 0.999})).met == 0


def test_every_attempt_has_one_end_and_only_answered_ones_count_as_served() -> None:
    load = OpenLoop(Poisson(100), 60, Uniform(1, 200), Uniform(1, 60))
    patience = Patience(timeout_s=0.6, retries=1, backoff_s=0.1)
    metrics = summarise(serve(VllmV1(max_num_seqs=4), load, COST, patience=patience), NO_SLO)
    answered, gone = metrics.outcomes[End.LENGTH], metrics.outcomes[End.TIMED_OUT]
    assert metrics.requests == answered + gone == metrics.met + metrics.breaches.finished
    assert 60 < metrics.requests <= 120
    assert metrics.met == answered > 0
    assert metrics.e2e is not None
    assert metrics.e2e.samples == answered


# -- several seeds, and the words that go with the numbers


def points() -> list[PointMetrics]:
    load = OpenLoop(Poisson(20), 40, Uniform(1, 200), Uniform(1, 60))
    return [summarise(serve(VllmV1(max_num_seqs=4), load, COST, seed=seed), SLO_PRESETS["code"]) for seed in range(3)]


def test_merged_counts_are_sums_and_everything_else_is_a_mean_between_the_extremes() -> None:
    seeds = points()
    merged = merge(seeds)
    rates = [point.output_tps for point in seeds]
    assert merged.seeds == 3
    assert merged.value.requests == 120
    assert merged.value.outcomes[End.LENGTH] == 120
    assert merged.value.output_tps == pytest.approx(np.mean(rates))
    assert (merged.low.output_tps, merged.high.output_tps) == (min(rates), max(rates))
    p99s = [point.ttft.p99 for point in seeds if point.ttft]
    assert merged.value.ttft is not None
    assert merged.value.ttft.p99 == pytest.approx(np.mean(p99s))
    assert merged.value.ttft.samples == 120
    assert merge(seeds[:1]).value == merge(seeds[:1]).low == seeds[0]


def test_a_number_that_one_seed_lacks_is_taken_over_the_others() -> None:
    with_ttft = points()[0]
    without = replace(with_ttft, ttft=None)
    assert merge([with_ttft, without]).low.ttft == with_ttft.ttft
    assert merge([without, without]).value.ttft is None
    with pytest.raises(ValueError, match="at least one seed"):
        merge([])


def test_metrics_pickle_and_come_out_the_same_twice() -> None:
    first, again = points(), points()
    assert first == again
    assert pickle.loads(pickle.dumps(first)) == first


def test_every_metric_is_defined() -> None:
    spelt = {"kv": "kv_used", "ttft_breakdown": "ttft_breakdown_ms", "queue": "queue_ms"}
    spelt |= {"batches": "judgement", "blame": "binding", "pile_up": "status", "extrapolated": "trust"}
    spelt |= {name: f"{name}_ms" for name in ("ttft", "tpot", "itl", "stall", "e2e")}
    untold = {"unanswered", "met", "breaches"}  # counts that the definition of attainment explains
    names = {spelt.get(field.name, field.name) for field in fields(PointMetrics)} - untold
    assert names <= set(METRIC_DEFINITIONS)
    texts: list[Any] = [text for definition in METRIC_DEFINITIONS.values() for text in definition]
    assert all(texts)
