"""A fit finds what made the times, bends to no single point, and passes on to new cards what their class has shown."""

import itertools
import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration import catalog, sources
from calibration.fit import Fit, fit_observations, fitted, predicted_errors
from calibration.fitting.bands import Miss, band, folds, no_surer_than_rates, weighted_quantiles
from calibration.fitting.least_squares import Problem
from calibration.fitting.observations import Observation, observe
from calibration.points import Point
from calibration.profile import at, load, parse
from calibration.sources import fitted_points
from calibration.terms import Kernels, cells_s, pass_s

TRUE = Kernels(
    weights_efficiency=0.7,
    kv_efficiency=0.8,
    mixed_kv_efficiency=0.6,
    decode_flops_efficiency=0.5,
    prompt_flops_efficiency=0.6,
    attention_flops_efficiency=0.4,
    decode_attention_efficiency=0.2,
    launch_us=200.0,
    layer_us=30.0,
    row_us=12.0,
    all_reduce_us=15.0,
    link_efficiency=0.5,
    overlap=1.8,
    host_step_us=900.0,
    host_row_us=30.0,
    host_cell_ns=20.0,
)
CARDS = ("a100-40g-sxm", "a100-80g-sxm", "h100-80g-sxm")
MODELS = ("llama-3.1-8b", "llama-2-13b", "llama-2-7b")


def step(gpu: str, model: str, rows: int, depth: int = 512, **more: object) -> Point:
    return Point("here", "vllm", "decode_step", rows, "0.32", "", gpu, 1, model, "bf16", depth_tokens=depth, **more)  # type: ignore[arg-type]


def prompt(gpu: str, model: str, tokens: int) -> Point:
    return Point("here", "vllm", "prefill", tokens, "0.32", "", gpu, 1, model, "bf16", prompt_tokens=tokens)


def timed(point: Point, factor: float = 1.0, kernels: Kernels = TRUE) -> Observation:
    """The point as kernels that are known would have it."""
    guess = replace(point, tpot_ms_mean=1e3, ttft_ms_mean=1e5)
    (one,), _ = observe([guess])
    seconds = sum(
        times * (pass_s(kernels, one.facts, work) + cells_s(kernels, one.facts, work)) for times, work in one.passes
    )
    return replace(one, measured_s=float(seconds) * factor)


def bench(cards: tuple[str, ...] = CARDS, models: tuple[str, ...] = MODELS) -> list[Observation]:
    steps = [
        step(gpu, model, rows, depth)
        for gpu in cards
        for model in models
        for rows in (1, 8, 64)
        for depth in (64, 2048)
    ]
    return [timed(point) for point in (*steps, *(prompt(gpu, model, 1024) for gpu in cards for model in models))]


@pytest.fixture(scope="module")
def plain() -> Fit:
    return fit_observations(bench())


def test_times_that_known_kernels_made_are_met(plain: Fit) -> None:
    assert np.abs(plain.errors).max() < 0.02


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 40), st.sampled_from([0.1, 0.3, 4.0, 10.0]))
def test_one_wrong_point_hardly_moves_the_others(index: int, factor: float) -> None:
    observations = bench()
    index %= len(observations)
    observations[index] = replace(observations[index], measured_s=observations[index].measured_s * factor)
    found = fit_observations(observations)
    others = np.delete(np.array(found.errors), index)
    assert np.median(np.abs(others)) < 0.02
    assert abs(found.errors[index]) > 0.5 * abs(np.log(factor))


def batched(gpu: str, model: str, rows: int, length: int, *, cell_ns: float) -> Observation:
    """A batch of vLLM's first engine, whose host goes over the blocks of all rows in every step."""
    batch = Point("here", "vllm", "offline", rows, "0.5.3", "", gpu, 1, model, "bf16")
    one = timed(replace(batch, prompt_tokens=length, output_tokens=length, e2e_ms_mean=1e6))
    hosts = (TRUE.host_step_us + work.outputs * TRUE.host_row_us + work.cells * cell_ns / 1e3 for _, work in one.passes)
    host_us = sum(times * host for (times, _), host in zip(one.passes, hosts, strict=True))
    return replace(one, measured_s=one.measured_s + host_us * 1e-6)


def test_what_the_host_does_for_every_cell_is_told_from_reading_it() -> None:
    models, lengths = ("llama-3.1-8b", "llama-2-7b", "qwen2.5-7b"), (128, 512, 1024)
    shapes = list(itertools.product(CARDS[1:], models, (1, 8, 32), lengths))
    without, slow = (
        fit_observations([batched(*shape, cell_ns=cell_ns) for shape in shapes]) for cell_ns in (0.0, 60.0)
    )
    found, least = (one.profile.coefficients["host_cell_ns"] for one in (slow, without))
    assert set(found) == {"vllm-v0"}  # no release of today does it
    assert found["vllm-v0"] > 2 * least["vllm-v0"]
    assert np.median(np.abs(slow.errors)) < 0.01


def test_a_card_that_was_not_measured_gets_what_its_class_has_shown(plain: Fit) -> None:
    unseen = bench(cards=("h200",))
    assert np.median(np.abs(predicted_errors(plain.profile, unseen))) < 0.05
    assert {plain.profile.trust_in(one.family, one.model) for one in unseen} == {"extrapolated"}


def test_a_model_that_was_not_measured_is_interpolated(plain: Fit) -> None:
    unseen = bench(models=("qwen3-14b",))
    assert np.median(np.abs(predicted_errors(plain.profile, unseen))) < 0.03
    assert {plain.profile.trust_in(one.family, one.model) for one in unseen} == {"interpolated"}
    assert {plain.profile.trust_in(one.family, one.model) for one in bench()} == {"measured"}


def joined(gpu: str, source: str = "here") -> list[Observation]:
    """Four cards of a kind that share a model."""
    points = [replace(step(gpu, "llama-3.1-8b", rows), gpu_count=4, source_id=source) for rows in (1, 8, 64)]
    return [timed(point) for point in points]


def trusts(known: list[Observation], asked: list[Observation]) -> set[str]:
    profile = fit_observations(known).profile
    return {profile.trust_in(one.family, one.model) for one in asked}


@pytest.mark.parametrize(("gpu", "unknown"), [("a100-40g-sxm", "interpolated"), ("l40s", "extrapolated")])
def test_a_link_is_measured_where_it_was_measured(gpu: str, unknown: str) -> None:
    alone = bench(cards=(gpu,))
    assert trusts(alone, joined(gpu)) == {unknown}
    assert trusts([*alone, *joined(gpu)], joined(gpu)) == {"measured"}
    assert trusts([*alone, *joined(gpu)], alone) == {"measured"}


def test_one_point_of_ones_own_is_enough_and_two_of_others() -> None:
    model = "qwen3-14b"
    one, two = (timed(step(CARDS[0], model, rows)) for rows in (1, 8))
    known = committed(bench(cards=CARDS[:1]))
    assert trusts([*known, one], [two]) == {"measured"}
    assert trusts([*known, *committed([one])], [two]) == {"interpolated"}
    assert trusts([*known, *committed([one, two])], [two]) == {"measured"}


def test_others_machines_do_not_tell_how_cards_exchange_over_pcie() -> None:
    elsewhere = joined("l40s", next(iter(sources.sources())))
    assert trusts([*bench(cards=("l40s",)), *elsewhere], joined("l40s")) == {"extrapolated"}


def committed(observations: list[Observation]) -> list[Observation]:
    """The same from a source that everybody has."""
    source = next(iter(sources.sources()))
    return [replace(one, point=replace(one.point, source_id=source)) for one in observations]


@pytest.mark.parametrize("slower", [0.8, 1.5])
def test_a_users_own_machine_is_met_and_leaves_the_others_alone(slower: float) -> None:
    card, model = CARDS[0], MODELS[0]
    own = [timed(step(card, model, rows), slower) for rows in (1, 8, 64)] + [timed(prompt(card, model, 1024), slower)]
    profile = fit_observations([*committed(bench()), *own]).profile
    assert np.abs(predicted_errors(profile, own)).max() < 0.05
    assert np.abs(predicted_errors(profile, bench(cards=CARDS[1:]))).max() < 0.03
    another = [timed(step(card, MODELS[1], rows), slower) for rows in (1, 8, 64)]
    assert np.abs(predicted_errors(profile, another)).max() < 0.15
    assert {path.split("/")[1] for path in profile.coefficients["weights_efficiency"] if "/" in path} >= {"own"}


def test_a_users_own_link_is_the_users_alone() -> None:
    def exchanging(gpu: str, faster: float = 1.0) -> list[Observation]:
        """Four cards whose link is so much faster than the others' are."""
        kernels = TRUE._replace(link_efficiency=TRUE.link_efficiency * faster)
        return [timed(one.point, kernels=kernels) for one in joined(gpu)]

    card, other = "l40s", "rtx-pro-6000"
    others = committed([*bench(cards=(card, other)), *joined(card), *joined(other)])
    profile = fit_observations([*others, *exchanging(card, faster=3.0)]).profile
    assert np.abs(predicted_errors(profile, exchanging(card, faster=3.0))).max() < 0.1
    assert np.abs(predicted_errors(profile, joined(other))).max() < 0.05
    assert np.abs(predicted_errors(profile, bench(cards=(card,)))).max() < 0.1


@pytest.mark.parametrize(("gpu", "told"), [("l40s", False), ("h100-80g-sxm", True)])
def test_how_a_laboratorys_cards_exchange_over_pcie_is_its_boards_and_over_nvlink_the_cards(
    gpu: str, told: bool
) -> None:
    def exchanging(card: str, source: str, slower: float) -> list[Observation]:
        """Four cards, prompts among their work, whose link is so much slower than the others' are."""
        kernels = TRUE._replace(link_efficiency=TRUE.link_efficiency / slower)
        points = [replace(prompt(card, model, 4096), gpu_count=4, source_id=source) for model in MODELS]
        return [timed(point, kernels=kernels) for point in points]

    here, there = list(sources.sources())[:2]
    other = {"l40s": "rtx-pro-6000", "h100-80g-sxm": "a100-80g-sxm"}[gpu]
    slow, usual = exchanging(gpu, here, 8.0), exchanging(other, there, 1.0)
    profile = fit_observations([*committed(bench(cards=(gpu, other))), *slow, *usual]).profile
    elsewhere = np.abs(predicted_errors(profile, exchanging(gpu, there, 8.0))).max()
    assert np.abs(predicted_errors(profile, slow)).max() < 0.1
    assert (elsewhere < 0.1) if told else (elsewhere > 0.3)


def test_ones_own_figure_corrects_what_others_tell_and_stands_for_what_nobody_does() -> None:
    shipped = load("measured")
    (one,), _ = observe([replace(step(CARDS[0], MODELS[0], 1), engine="llama.cpp", weights="q4_k_m", tpot_ms_mean=9.0)])
    own = {f"llama.cpp/own/{CARDS[0]}": 2.0}
    with_own = {name: {**parts, **own} for name, parts in shipped.coefficients.items()}
    before, after = (replace(shipped, coefficients=of).kernels(one.family) for of in (shipped.coefficients, with_own))
    assert (before.host_step_us, after.host_step_us) == (0, 2)
    assert after.weights_efficiency == pytest.approx(2 * before.weights_efficiency)


def test_measurements_by_themselves_are_nobodys_own(plain: Fit) -> None:
    assert not [path for parts in plain.profile.coefficients.values() for path in parts if "own" in path.split("/")]


def test_no_step_from_the_solution_makes_it_more_plausible() -> None:
    problem = Problem(bench())
    solution = problem.solved()
    known = dict(solution.parts) | {("laboratory", name): value for name, value in solution.laboratories.items()}
    best = np.array([known[key] for key in problem.keys])
    chance = np.random.default_rng(0)
    least = problem.cost(best)
    for _ in range(50):
        assert problem.cost(best + 0.01 * problem.spread * chance.normal(size=len(best))) >= least


def test_slopes_are_the_derivatives_of_the_times() -> None:
    problem = Problem(bench(cards=CARDS[:1]))
    _, matrix = problem.slopes(problem.expected)
    dense = matrix.toarray()
    for column in range(len(problem.keys)):
        moved = problem.expected.copy()
        moved[column] += 1e-5
        rise = problem.times_of(problem.coefficients(moved)) - problem.times_of(problem.coefficients(problem.expected))
        if not any(name == "laboratory" and number == column for (name, _), number in problem.keys.items()):
            assert dense[:, column] == pytest.approx(rise / 1e-5, abs=1e-3)


def test_a_kernel_that_is_slow_at_eight_rows_gets_a_stair_there() -> None:
    observations = [
        replace(one, measured_s=one.measured_s * (1.3 if one.point.load_value == 8 else 1.0)) for one in bench()
    ]
    found = fit_observations(observations)
    family = observations[0].family
    curve = found.profile.staircase(family, MODELS[0])
    assert at(curve, 8) / at(curve, 1) > 1.15
    assert at(curve, 8) / at(curve, 64) > 1.15


@given(
    st.lists(st.tuples(st.sampled_from([1.0, 2.0, 4.0, 8.0, 64.0]), st.floats(0.5, 2)), min_size=1), st.floats(1, 999)
)
def test_a_curve_stays_between_its_nodes(nodes: list[tuple[float, float]], rows: float) -> None:
    curve = tuple(sorted(dict(nodes).items()))
    factors = [factor for _, factor in curve]
    assert min(factors) * (1 - 1e-9) <= at(curve, rows) <= max(factors) * (1 + 1e-9)


def test_what_the_fit_says_of_its_points_is_what_its_profile_predicts() -> None:
    observations = [
        replace(one, measured_s=one.measured_s * (1.3 if one.point.load_value == 8 else 1.0)) for one in bench()
    ]
    found = fit_observations(observations)
    assert predicted_errors(found.profile, observations) == pytest.approx(np.array(found.errors), abs=0.01)


# -- bands


@given(st.tuples(st.floats(0.3, 1), st.floats(1, 3)), st.tuples(st.floats(0.3, 1), st.floats(1, 3)))
def test_a_whole_requests_time_is_no_surer_than_the_rate(e2e: tuple[float, float], rate: tuple[float, float]) -> None:
    given_bands = {"step": (0.9, 1.1), "e2e": e2e, "throughput": rate}
    found = no_surer_than_rates(given_bands)
    assert found["e2e"][0] <= min(e2e[0], 1 / rate[1])
    assert found["e2e"][1] >= max(e2e[1], 1 / rate[0])
    assert {**found, "e2e": e2e} == given_bands


def test_the_shipped_bands_know_that() -> None:
    shipped = load("measured").bands
    assert all(no_surer_than_rates(of)["e2e"] == pytest.approx(of["e2e"], abs=1e-3) for of in shipped.values())


@given(st.lists(st.floats(-3, 3), min_size=5, max_size=200))
def test_four_of_five_equally_weighted_misses_lie_within_the_band(errors: list[float]) -> None:
    one = bench()[0]
    low, high = band([Miss("row", "measured", one, error, known_card=True) for error in errors])
    inside = [low * (1 - 1e-9) <= np.exp(-error) <= high * (1 + 1e-9) for error in errors]
    assert np.mean(inside) >= 0.8 - 2 / len(errors)
    assert low <= 1 <= high


def test_a_source_of_many_rows_does_not_decide_a_quantile_alone() -> None:
    values, weights = np.array([0.0] * 100 + [1.0] * 4), np.array([100**-0.5] * 100 + [4**-0.5] * 4)
    assert weighted_quantiles(values, weights, (0.9,))[0] > 0.5


@pytest.mark.parametrize("held_out", ["row", "gpu", "model", "source"])
def test_every_observation_is_held_out_once_and_never_fitted_then(held_out: str) -> None:
    observations = bench()
    seen: list[int] = []
    for known, unknown in folds(observations, held_out):
        assert not set(known) & set(unknown)
        assert len(known) + len(unknown) == len(observations)
        seen += unknown
    assert sorted(seen) == list(range(len(observations))) or held_out == "source"


def test_of_fewer_observations_than_parts_every_part_holds_some() -> None:
    pair = bench()[:2]
    assert [(known, unknown) for known, unknown in folds(pair, "row")] == [([1], [0]), ([0], [1])]


def served(options: str, **more: object) -> Point:
    point = Point("here", "vllm", "closed", 32, "0.19.0", options, "h200", 8, "minimax-m2.5", "fp8", **more)  # type: ignore[arg-type]
    return replace(point, prompt_tokens=1024, output_tokens=1024, tpot_ms_mean=10.0)


@pytest.mark.parametrize("options", ["", "enable_expert_parallel", "tensor_parallel_size=4;data-parallel-size=2"])
def test_experts_over_several_cards_count_where_the_cards_are_said_to_split_every_layer(options: str) -> None:
    (point, why), *_ = observe([served(options)])[1]
    assert point.engine_options == options
    assert "--gpus N" in why
    assert len(observe([served("tensor_parallel_size=8")])[0]) == 1


@pytest.mark.parametrize("stated", ["8k", "0", "-1", "inf", "nan", ""])
def test_a_budget_that_is_no_number_of_tokens_is_said_to_be_none(stated: str) -> None:
    options = f"tensor_parallel_size=8;--max-num-batched-tokens={stated}"
    used, left = observe([replace(served(options, output_tps=2000.0), load="burst")])
    assert (used, [why for _, why in left]) == ([], [f"max-num-batched-tokens '{stated}' is not a number of tokens"])


@pytest.mark.parametrize(
    ("options", "hosted"), [("", True), ("async_scheduling=true;seed=1", False), ("async-scheduling=false", True)]
)
def test_the_host_takes_no_time_of_a_step_that_was_decided_ahead(options: str, hosted: bool) -> None:
    point = replace(step(CARDS[0], MODELS[0], 8, tpot_ms_mean=12.0), engine_version="0.10.1", engine_options=options)
    ((one,), _) = observe([point])
    assert one.hosted is hosted


def test_a_narrow_cache_and_a_small_budget_are_heeded() -> None:
    usual, narrow = (
        observe([served(f"tensor_parallel_size=8{more}")])[0][0]
        for more in ("", ";kv_cache_dtype=fp8;max_num_batched_tokens=512")
    )
    assert narrow.facts.cell_s == usual.facts.cell_s / 2
    assert [work.prompt for _, work in narrow.passes if work.prompt] == [512]
    assert [work.prompt for _, work in usual.passes if work.prompt] == [1024]


# -- what is shipped


def test_the_shipped_profile_follows_from_the_committed_measurements() -> None:
    shipped, made = load("measured"), fitted(fitted_points()).profile
    for name, parts in made.coefficients.items():
        assert shipped.coefficients[name] == pytest.approx(parts, rel=1e-6)
    assert shipped.seen == made.seen
    for scope, curve in made.staircases.items():
        assert dict(shipped.staircases[scope]) == pytest.approx(dict(curve), rel=1e-6)


def test_the_shipped_profile_names_its_inputs_as_they_are() -> None:
    raw = json.loads(files("calibration").joinpath("profiles", "measured.json").read_text(encoding="utf-8"))
    assert {entry["source"] for entry in raw["inputs"]} <= set(sources.sources())
    for entry in raw["inputs"]:
        assert entry["sha256"] == sources.digest(entry["source"])
        assert not sources.sources()[entry["source"]].held_out


@pytest.mark.parametrize("kernels", ["vllm", "llama.cpp"])
def test_the_shipped_profile_knows_a_band_for_every_label_and_wider_ones_further_away(kernels: str) -> None:
    profile = load("measured")
    widths = []
    for label in ("measured", "interpolated", "extrapolated"):
        for metric in ("step", "throughput", "ttft", "tpot", "e2e"):
            low, high = profile.band(kernels, label, metric)
            assert low < 1 < high
        low, high = profile.band(kernels, label, "step")
        widths.append(high / low)
    assert widths[0] < widths[2]


def test_no_efficiency_of_a_card_that_was_measured_is_above_its_data_sheet() -> None:
    profile = load("measured")
    used, _ = observe(fitted_points())
    for family in {one.family for one in used}:
        kernels = profile.kernels(family)
        assert max(kernels.weights_efficiency, kernels.kv_efficiency, kernels.prompt_flops_efficiency) < 1.1


def test_a_profile_from_before_blocks_were_counted_prices_none() -> None:
    document = json.loads(files("calibration").joinpath("profiles", "measured.json").read_text(encoding="utf-8"))
    batch = Point("own", "vllm", "offline", 8, "0.6.3", "", "h100-80g-sxm", 1, "llama-3.1-8b", "bf16")
    (then,), _ = observe([replace(batch, prompt_tokens=512, output_tokens=512, e2e_ms_mean=1e4)])
    assert load("measured").kernels(then.family).host_cell_ns > 0
    del document["coefficients"]["host_cell_ns"]
    assert parse(json.dumps(document), "older").kernels(then.family).host_cell_ns == 0


def test_a_profile_is_read_as_it_was_written() -> None:
    text = files("calibration").joinpath("profiles", "measured.json").read_text(encoding="utf-8")
    assert parse(text, "again").coefficients == load("measured").coefficients
    assert catalog.gpu("a100-40g").id in {place.split("/")[1] for place in load("measured").seen}
