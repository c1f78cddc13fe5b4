"""Errors, bands and coverage are what they say, worked out by hand."""

from math import log

import pytest

from calibration.fitting.error_sizes import sizes, sizes_of_logarithms
from calibration.validate import Comparison, Figure, Unmapped, Validation, accuracy, banded, document, folds, summarise

NOTHING = {"n": 0, "median_abs_error": None, "p90_abs_error": None, "bias": None, "coverage": None, "width": None}


def comparison(figure: Figure, engine: str = "vllm", trust: str = "measured") -> Comparison:
    figures = {"output_tps": figure}
    return Comparison(2, "source", engine, "a100-40g-sxm", "llama-3.1-8b", "bf16", "closed", 8.0, trust, figures)


def test_an_error_is_the_share_by_which_the_prediction_is_too_high() -> None:
    assert Figure(observed=100.0, predicted=130.0).error == pytest.approx(0.3)
    assert Figure(observed=100.0, predicted=80.0).error == pytest.approx(-0.2)


def test_a_band_is_so_many_times_the_prediction_and_its_width_is_half_of_it() -> None:
    figure = banded(100.0, 120.0, (0.8, 1.4))
    assert [figure.low, figure.high] == pytest.approx([96.0, 168.0])
    assert figure.width == pytest.approx(0.3)
    assert figure.holds


@pytest.mark.parametrize("factors", [None, (1.0, 1.0)])
def test_without_a_band_nothing_is_said_of_coverage(factors: tuple[float, float] | None) -> None:
    found = accuracy([banded(100.0, 120.0, factors)])
    assert (found.coverage, found.width) == (None, None)


def test_coverage_is_the_share_of_measurements_inside_their_bands() -> None:
    inside, below, above = (banded(seen, 100.0, (0.9, 1.1)) for seen in (105.0, 89.0, 111.0))
    edges = [banded(seen, 100.0, (0.9, 1.1)) for seen in (90.0, 100.0 * 1.1)]
    assert accuracy([inside, below, above, *edges]).coverage == pytest.approx(3 / 5)


def test_median_p90_and_bias_by_hand() -> None:
    errors = [-0.5, -0.1, 0.0, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 2.0, 3.0]
    found = accuracy([Figure(100.0, 100.0 * (1 + error)) for error in errors])
    assert found.n == 11
    assert found.bias == pytest.approx(0.4)
    assert found.median_abs_error == pytest.approx(0.5)  # 0 .1 .2 .3 .4 [.5] .6 .8 1 2 3
    assert found.p90_abs_error == pytest.approx(2.0)  # ten steps from first to last, the ninth


def test_errors_are_of_one_size_whether_they_are_given_as_shares_or_as_logarithms() -> None:
    shares = [-0.5, 0.0, 0.2, 1.0]
    assert sizes(shares) == pytest.approx((0.35, 0.85))  # 0 .2 .5 1: three steps
    assert sizes_of_logarithms([log(1 + share) for share in shares]) == pytest.approx((0.35, 0.85))


def test_a_metric_that_nobody_measured_has_no_accuracy() -> None:
    assert summarise([comparison(Figure(1.0, 1.0))])["ttft_ms"].n == 0
    assert document(Validation())["summary"]["all"]["e2e_ms"] == NOTHING


def test_groups_hold_their_own_rows_only() -> None:
    rows = (comparison(Figure(100.0, 110.0)), comparison(Figure(100.0, 200.0), engine="ollama", trust="extrapolated"))
    by = document(Validation(rows))["summary"]["by"]
    assert by["engine"]["vllm"]["output_tps"]["median_abs_error"] == pytest.approx(0.1)
    assert by["engine"]["ollama"]["output_tps"]["bias"] == pytest.approx(1.0)
    assert {label: found["output_tps"]["n"] for label, found in by["trust"].items()} == {
        "measured": 1,
        "extrapolated": 1,
    }


def test_the_document_has_the_published_shape() -> None:
    found = document(Validation((comparison(banded(100.0, 90.0, (0.5, 2.0))),), (Unmapped(7, "gpu not stated", "s"),)))
    assert set(found) == {"rows", "summary", "unmapped"}
    assert set(found["summary"]) == {"all", "by"}
    assert set(found["summary"]["by"]) == {"engine", "gpu", "load", "trust"}
    metrics = {"output_tps", "ttft_ms", "tpot_ms", "e2e_ms"}
    for group in (found["summary"]["all"], found["summary"]["by"]["gpu"]["a100-40g-sxm"]):
        assert set(group) == metrics
        assert all(set(each) == set(NOTHING) for each in group.values())
    assert found["rows"][0]["metrics"]["output_tps"] == {
        "observed": 100.0,
        "predicted": 90.0,
        "error": pytest.approx(-0.1),
        "low": 45.0,
        "high": 180.0,
    }
    assert found["unmapped"] == [{"row": 7, "reason": "gpu not stated", "source_id": "s"}]


def test_beside_what_is_held_out_stands_what_was_seen() -> None:
    held_out, seen = (comparison(Figure(100.0, predicted)) for predicted in (130.0, 105.0))
    summary = document(Validation((held_out,), in_sample=(seen,)))["summary"]
    assert summary["all"]["output_tps"]["median_abs_error"] == pytest.approx(0.3)
    assert summary["in_sample"]["output_tps"]["median_abs_error"] == pytest.approx(0.05)


@pytest.mark.parametrize("most", [3, 30])
def test_every_measurement_is_held_out_once_and_its_kind_is_in_no_fit_that_predicts_it(most: int) -> None:
    keys = [key for place, key in enumerate("abcdefghij") for _ in range(1 + place * most // 9)]
    parts = folds(keys)
    assert sorted(place for part in parts for place in part.held_out) == list(range(len(keys)))
    for part in parts:
        assert {keys[place] for place in part.held_out}.isdisjoint(keys[place] for place in part.fitted)
        assert len(part.fitted) + len(part.held_out) == len(keys)


def test_kinds_with_many_measurements_are_held_out_alone() -> None:
    parts = folds(["many"] * 20 + [f"rare {number}" for number in range(12)])
    assert len(parts) == 6
    assert parts[0].held_out == tuple(range(20))
