"""How many slots a card holds, how fast they are and what happens beyond, for every model that one source measured."""

import statistics

import pytest

from tests.pages import alike_to_the_digit
from tests.slots import COLLAPSED, PAGE, Told, measured, page, simulated, tell

MODELS = sorted(measured())
FAR = {"gemma-3-12b": 2}  # steps of the grid; the others one at most, as the page says
TOO_FAST = {"qwen3-1.7b": 1.6}  # a small model under Windows, of which the page says why; the others a third at most


@pytest.fixture(params=MODELS)
def told(request: pytest.FixtureRequest) -> Told:
    return tell(request.param)


def test_the_most_slots_that_are_safe_are_found_within_a_step_of_the_grid(told: Told) -> None:
    assert told.steps_apart <= FAR.get(told.model, 1)


def test_below_the_collapse_slots_are_about_as_fast_as_measured(told: Told) -> None:
    assert 0.7 < statistics.median(told.below) < TOO_FAST.get(told.model, 1.35)


def test_half_of_the_models_are_within_a_fifth() -> None:
    assert statistics.median(abs(statistics.median(tell(model).below) - 1) for model in MODELS) < 0.2


def test_above_it_they_are_within_a_factor_of_two_or_little_more(told: Told) -> None:
    assert all(1 / 2.45 < ratio < 2.45 for ratio in told.above)


def test_of_all_slots_beyond_most_are_within_a_factor_of_two() -> None:
    above = [ratio for model in MODELS for ratio in tell(model).above]
    assert statistics.mean(0.5 < ratio < 2 for ratio in above) >= 0.75


@pytest.mark.parametrize("model", MODELS)
def test_slots_beyond_the_memory_cost_those_who_use_two_of_them(model: str) -> None:
    grid = [simulated(model, one.slots) for one in measured()[model]]
    fitting = [one.tok_s[2] for one in grid if not one.layers_on_host]
    spilled = [one.tok_s[2] for one in grid if one.layers_on_host]
    assert all(rate < COLLAPSED * max(fitting) for rate in spilled)
    assert spilled == sorted(spilled, reverse=True)


def test_a_window_lets_more_slots_fit_than_its_cells_would_without() -> None:
    whole = tell("qwen3-8b")  # weights as large as those of Gemma 3 4B, which sees a window in most layers
    assert tell("gemma-3-4b").fits > 1.5 * whole.fits


def test_the_page_shows_what_comes_out() -> None:
    alike_to_the_digit(PAGE.read_text(encoding="utf-8"), page())
