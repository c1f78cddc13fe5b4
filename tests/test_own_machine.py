"""Loads of one's own server of slots: what they say of the machine is found again, told, and holds for other models."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from calibration import sources
from calibration.points import Point
from calibration.profile import load
from sim.cli.measured.case import Case
from sim.cli.measured.predictions import predictions
from sim.cli.measured.serving import Around, beside, family_of, fitted, with_own_servers
from sim.cli.own_loads import loads_among
from tests import slots
from tests.own_machine import PAGE, page, worth
from tests.pages import alike
from tests.test_calibrate_cli import simctl, table

SERVER = Point(
    *("own", "llama.cpp", "closed", 8.0, "b11434"),
    gpu="rtx-4090",
    model="llama-3.1-8b",
    weights="q4_k_m",
    slots=8,
    context=4096,
    prompt_tokens=300.0,
    output_tokens=100.0,
)
USERS = (1, 2, 4, 8, 16)
TRUE = Around(3000.0, 400.0)
MODELS = sorted(slots.measured())


@pytest.fixture
def few_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' measurements of two cards alone, which is fitted in no time."""
    few = [one for one in sources.fitted_points() if one.engine == "llama.cpp" and one.gpu in ("rtx-4090", "rtx-3090")]
    monkeypatch.setattr(sources, "fitted_points", lambda: few)


def loads(around: Around, users: Sequence[int] = USERS, **changes: object) -> list[Point]:
    """What a machine that takes so much around its passes would have measured."""
    points = [replace(SERVER, load_value=float(count), output_tps=1.0, **changes) for count in users]  # type: ignore[arg-type]
    return [replace(point, output_tps=rate) for point, rate in zip(points, rates(points, around), strict=True)]


def rates(points: list[Point], around: Around) -> list[float]:
    cases, _ = loads_among(points)
    machine = beside(load("measured"), family_of(cases[0]), around)
    return [rate(told.outcome) for told in predictions(cases, [machine] * len(cases), 1, lambda *_: None)]


def rate(outcome: object) -> float:
    assert not isinstance(outcome, str), outcome
    return float(outcome.output_tps)  # type: ignore[attr-defined]


def cases_of(points: list[Point]) -> list[Case]:
    found, left = loads_among(points)
    assert not left
    return found


def test_what_a_machine_takes_around_its_passes_is_found_again() -> None:
    found = fitted(load("measured"), cases_of(loads(TRUE)))
    assert found.step_us == pytest.approx(TRUE.step_us, rel=0.1)
    assert found.row_us == pytest.approx(TRUE.row_us, rel=0.1)


def test_a_machine_like_those_of_the_profile_takes_next_to_nothing() -> None:
    found = fitted(load("measured"), cases_of(loads(Around(0.0, 0.0))))
    assert found.step_us < 100
    assert found.row_us < 30


def test_it_holds_for_a_model_and_for_loads_that_were_not_measured() -> None:
    profile, _ = with_own_servers(load("measured"), cases_of(loads(TRUE, (2, 8))))
    other = loads(TRUE, (4, 16), model="qwen3-1.7b", prompt_tokens=900.0)
    told = predictions(cases := cases_of(other), [profile] * len(cases), 1, lambda *_: None)
    for case, each in zip(cases, told, strict=True):
        assert rate(each.outcome) == pytest.approx(case.point.output_tps, rel=0.03)


def test_the_models_that_were_measured_are_known_on_the_card_afterwards() -> None:
    before, cases = load("measured"), cases_of(loads(TRUE, model="qwen3-1.7b", weights="q6_k"))
    after, _ = with_own_servers(before, cases)
    new = {place: models - before.seen.get(place, frozenset()) for place, models in after.seen.items()}
    assert {place for place, models in new.items() if models} == {"llama.cpp/rtx-4090"}


def test_other_cards_stay_as_they_were() -> None:
    profile, _ = with_own_servers(load("measured"), cases_of(loads(TRUE)))
    other = family_of(cases_of(loads(TRUE, (2,), gpu="rtx-3090"))[0])
    assert profile.kernels(other) == load("measured").kernels(other)
    vllm = other._replace(kernels="vllm", gpu="rtx-4090")
    assert profile.kernels(vllm) == load("measured").kernels(vllm)


@pytest.mark.parametrize("slots", [None, 0])
def test_a_load_on_slots_that_nobody_stated_says_nothing_and_names_the_flag(slots: int | None) -> None:
    found, left = loads_among([replace(SERVER, slots=slots, output_tps=100.0)])
    assert not found
    assert "--slots" in left[0][1]


def test_a_load_with_layers_on_the_processor_says_nothing_of_the_machine() -> None:
    crowded = replace(SERVER, model="qwen3-32b", gpu="rtx-4060", output_tps=10.0)
    found, left = loads_among([crowded])
    assert not found
    assert "layers are on the CPU" in left[0][1]


def test_loads_that_are_calibrated_with_come_out_as_measured(tmp_path: Path, few_known: None) -> None:
    own, profile = table(tmp_path / "mine.csv", [replace(one, slots=None) for one in loads(TRUE)]), tmp_path / "p.json"
    made = simctl("calibrate", own, "--slots", 8, "-o", profile)
    assert made.exit_code == 0, made.output
    around = re.search(r"rtx-4090 +5 .* ([\d.]+) ms a step and ([\d.]+) ms a row", made.output)
    assert around, made.output
    told = simctl("validate", "--points", own, "--given", "slots=8", "--profile", profile, "-o", "json", "--quiet")
    summary = json.loads(told.stdout)["summary"]
    assert summary["all"]["output_tps"]["median_abs_error"] < 0.03
    assert list(summary["by"]["trust"]) == ["measured"]


def test_loads_on_slots_that_nobody_stated_make_no_profile(tmp_path: Path, few_known: None) -> None:
    own = table(tmp_path / "mine.csv", [replace(one, slots=None) for one in loads(TRUE, (4, 8))])
    refused = simctl("calibrate", own, "-o", tmp_path / "p.json")
    assert refused.exit_code == 3
    assert "is not stated: --slots" in refused.output
    assert not (tmp_path / "p.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_what_other_models_say_of_the_machine_makes_the_slots_of_one_right_within_a_fifth(model: str) -> None:
    found = worth(model)
    assert abs(median(found.own.below) - 1) < 0.2
    beyond_memory = sorted(found.own.above)
    assert all(1 / 2.25 < ratio < 2.25 for ratio in beyond_memory)  # one cell of Gemma 3 12B stands beyond 2
    assert beyond_memory == [] or median(beyond_memory) < 2


@pytest.mark.slow
def test_the_page_shows_what_comes_out() -> None:
    alike(PAGE.read_text(encoding="utf-8"), page())
