"""Real servers' closed loops are predicted from step tables: rates, latencies, failures and preemptions."""

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from calibration.tables.iteration_table import read_iterations
from sim.scenario import Result
from sim.simulate import simulate
from tests.pages import alike_but_for_signs
from tests.recorded_clients import ids_by_level
from tests.recorded_errors import (
    LEFT_OUT,
    MEDIAN_PERCENT,
    MISSED_PERCENT,
    TOLERANCE_PERCENT,
    cells,
    judged,
    median_errors,
    slowdown,
)
from tests.recorded_loops import SEEDS, Prediction, predict, scenario_of
from tests.recorded_page import PAGE, page
from tests.recordings import NAMES, RECORDED, load, prompt_length, read_text

LLAMA_CPP = [name for name, folder in NAMES.items() if folder == "llamacpp-cpu"]


@cache
def predicted(name: str) -> list[Prediction]:
    return predict(name, SEEDS)


def everything() -> list[Prediction]:
    return [one for name in NAMES for one in predicted(name)]


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_within_its_tolerance_but_for_those_named(name: str) -> None:
    missed = {cell.key: cell.error_percent for cell in judged(predicted(name)) if not cell.within}
    assert missed.keys() == {key for key in MISSED_PERCENT if key[0] == name}, missed
    assert all(abs(error) <= MISSED_PERCENT[key] for key, error in missed.items()), missed


def test_the_median_over_levels_of_every_figure_is_within_six_percent() -> None:
    errors = median_errors(everything())
    assert len(errors) == 4
    assert max(errors.values()) <= MEDIAN_PERCENT, errors


def test_only_what_was_named_as_noise_is_left_out() -> None:
    shown = {cell.key for cell in cells(everything())}
    assert shown >= LEFT_OUT
    assert len(shown) == 4 * (len(everything()) - 1)  # nobody got an answer on np8_kvu2048 at 8 users
    assert {(name, users) for name, users, _ in LEFT_OUT} == {("np1", 16), ("np8_kvu2048", 4), ("seqs64_kv2048tok", 16)}
    assert len(LEFT_OUT) == len(TOLERANCE_PERCENT) + 2


def test_the_same_prompts_ran_slower_where_a_figure_is_missed_or_a_level_left_out() -> None:
    np1 = load("np1")
    assert all(slowdown(np1, 4, other) > 1.05 for other in (8, 32))
    assert all(slowdown(np1, 16, other) > 1.15 for other in (8, 32))
    assert slowdown(np1, 8, 32) == pytest.approx(1.0, abs=0.03)


def test_the_overcommitted_cache_fails_the_requests_that_failed_in_every_seed() -> None:
    assert [one.level.figures.failures for one in predicted("np8_kvu2048")] == [0, 5, 6, 16]
    for one in predicted("np8_kvu2048"):
        recorded = {(request.uid, request.k) for request in one.level.requests if not request.succeeded}
        assert {outcome.failed for outcome in one.outcomes} == {frozenset(recorded)}, one.level.users


@pytest.mark.parametrize("name", [name for name in NAMES if name != "np8_kvu2048"])
def test_nobody_fails_where_nobody_failed(name: str) -> None:
    for one in predicted(name):
        assert one.level.figures.failures == 0
        assert {outcome.figures.failures for outcome in one.outcomes} == {0}


@pytest.mark.parametrize("name", NAMES)
def test_as_many_are_preempted_as_were_in_every_seed(name: str) -> None:
    recorded = [one.level.figures.preemptions for one in predicted(name)]
    assert recorded == ([4, 6] if name == "seqs64_kv2048tok" else [0] * len(recorded))
    for one, preemptions in zip(predicted(name), recorded, strict=True):
        assert {outcome.figures.preemptions for outcome in one.outcomes} == {preemptions}


@pytest.mark.parametrize("name", ["seqs128_b2048", "seqs64_kv2048tok"])
def test_vllm_takes_the_very_steps_of_its_log(name: str) -> None:
    log = read_iterations(io.StringIO(read_text(RECORDED / "vllm-cpu" / f"{name}.iterations.csv")))
    steps = _steps(simulate(scenario_of(load(name))))
    assert [sum(step) for step in steps] == [step.gen_tokens + step.ctx_tokens for step in log]
    resumes = [step.gen_tokens != step.gen_reqs for step in log]  # whose prompts it counts as generation
    assert [step for step, not_told_apart in zip(steps, resumes, strict=True) if not not_told_apart] == [
        (step.gen_reqs, step.ctx_tokens) for step in log if step.gen_tokens == step.gen_reqs
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_clients_are_those_of_the_recording(name: str) -> None:
    recording = load(name)
    requests = simulate(scenario_of(recording)).requests
    for level, ids in ids_by_level(recording):
        inside = (requests["id"] >= ids.start) & (requests["id"] < ids.stop)
        assert inside.sum() == level.total
        for user in range(level.users):
            mine = inside & (requests["user"] == user)
            lengths = requests["prompt_tokens"][mine][np.argsort(requests["id"][mine])].tolist()
            assert lengths == [prompt_length(user, turn) for turn in range(len(lengths))]


@pytest.mark.parametrize("name", LLAMA_CPP)
def test_the_first_round_begins_in_the_recorded_order(name: str) -> None:
    recording = load(name)
    requests = simulate(scenario_of(recording)).requests
    for level, ids in ids_by_level(recording):
        first = (requests["id"] >= ids.start) & (requests["id"] < ids.start + level.users)
        admitted = dict(zip(requests["user"][first].tolist(), requests["admitted_ps"][first].tolist(), strict=True))
        begun = [user for user in level.first_round() if admitted[user] >= 0]  # some fail before their prompt begins
        times = [admitted[user] for user in begun]
        assert tuple(user for user in begun if admitted[user] == times[0]) == level.first_batch()
        assert times == sorted(times)


@pytest.mark.parametrize("name", NAMES)
def test_strides_change_nothing(name: str) -> None:
    scenario = scenario_of(load(name))
    assert _requests(simulate(scenario)) == _requests(simulate(replace(scenario, stride_limit=1)))


def test_the_page_shows_these_figures() -> None:
    alike_but_for_signs(PAGE.read_text(encoding="utf-8"), page(everything()))


def _requests(result: Result) -> dict[str, list[int]]:
    return {name: column.tolist() for name, column in result.requests.items()}


def _steps(result: Result) -> list[tuple[int, int]]:
    """Decodes and prompt tokens of every step."""
    strides = result.replicas[0].strides
    columns = (strides[name].tolist() for name in ("decodes", "prompt_tokens", "steps"))
    return [(decodes, prompt) for decodes, prompt, count in zip(*columns, strict=True) for _ in range(count)]
