"""Servers that were driven into saturation saturate here at the same place and for the same reason, or nearly."""

import re
from functools import cache

import pytest

from calibration import profile, sources
from sim.clock import PS_PER_S
from sim.compose import PROFILE
from tests import cliff_load_test, cliff_published, cliff_readings, slots
from tests.cliff_readings import READINGS, Cliff
from tests.cliff_sources import BEYOND, SERIES
from tests.measured_cliffs import PAGE, beyond, cliffs, median_error_percent, page
from tests.pages import alike_but_for_signs
from tests.recordings import load


@cache
def found() -> tuple[Cliff, ...]:
    return tuple(cliffs())


# -- the promise


def test_positions_are_predicted_within_fifteen_percent_at_the_median() -> None:
    assert len(found()) >= 8
    assert median_error_percent(found()) <= 15


def test_the_cause_is_right_in_all_but_one() -> None:
    assert sum(not one.agrees for one in found()) <= 1


def test_every_cause_but_the_front_door_is_among_those_seen() -> None:
    seen = {one.seen for one in found()}
    assert seen == {"spill", "kv_blocks", "seq_slots", "prefill_budget", "decode_rate"}


def test_every_source_has_its_own_cliffs_on_the_page() -> None:
    expected = {"check-parallels", "dennislee-a100", "wentao-h100", "paiml", "backprop-3090", "recorded", "load_test"}
    assert {one.source for one in found()} == expected


@pytest.mark.parametrize("source", sorted({series.source for series in SERIES + BEYOND} | {slots.SOURCE}))
def test_the_profile_has_not_seen_what_it_is_judged_by(source: str) -> None:
    shipped, used = profile.load(PROFILE), cliff_published.unseen(source)
    assert (used is shipped) == bool(sources.sources()[source].held_out)
    if used is not shipped:
        assert used.coefficients != shipped.coefficients


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.server)
def test_a_cliff_was_measured_on_both_sides(series: cliff_published.Series) -> None:
    levels = [point.load_value for point in series.points()]
    assert len(levels) >= 3
    assert len(set(levels)) == len(levels)


@pytest.mark.parametrize("series", [each for each in SERIES + BEYOND if each.source == "dennislee-a100"])
def test_log_lines_are_quoted_as_the_rows_hold_them(series: cliff_published.Series) -> None:
    quoted = re.match(r"at ([\d,]+): (\d+ running, \d+ waiting, KV [\d.]+%)", series.shown)
    assert quoted is not None
    (row,) = [point for point in series.points() if point.load_value == float(quoted[1].replace(",", ""))]
    assert quoted[2] in row.notes


def test_prompts_are_computed_as_fast_under_load_as_a_lone_one_where_they_are_said_to_be() -> None:
    (series,) = [each for each in SERIES if each.seen == "prefill_budget"]
    alone, *_, loaded = series.points()
    prompt, output = loaded.prompt_tokens or 0.0, loaded.output_tokens or 0.0
    assert 1000 * prompt / (alone.ttft_ms_mean or 0.0) == pytest.approx(38_900, rel=0.002)
    assert (loaded.output_tps or 0.0) / output * prompt == pytest.approx(37_600, rel=0.002)


def test_a_larger_pool_gains_next_to_nothing_where_places_are_said_to_be_the_limit() -> None:
    (places,) = [each for each in SERIES if each.source == "dennislee-a100" and each.seen == "seq_slots"]
    (larger,) = [
        each for each in BEYOND if each.columns.get("kv_gib") == 31.83 and each.columns["output_tokens"] == 1024
    ]
    (there,) = larger.points()
    (here,) = [point for point in places.points() if point.load_value == there.load_value]
    assert (there.output_tps or 0.0) / (here.output_tps or 1.0) == pytest.approx(1.01, abs=0.005)
    assert (there.kv_gib or 0.0) / (here.kv_gib or 1.0) == pytest.approx(2.6, abs=0.05)


def test_the_load_test_is_predicted_from_its_lowest_rate_alone() -> None:
    at_rest = cliff_load_test.measured()[cliff_load_test.RECORDED_SCALE]
    assert max(cliff_load_test.TABLE.decode_batches) <= at_rest["most_running"]
    assert cliff_load_test.rate(200) == pytest.approx(2 * cliff_load_test.rate(100), rel=1e-3)
    assert cliff_load_test.arrivals(100).arrivals_ps[-1] / PS_PER_S == pytest.approx(389.7, abs=0.1)


def test_the_page_shows_these_figures() -> None:
    alike_but_for_signs(PAGE.read_text(encoding="utf-8"), page(found(), beyond()))


# -- how positions are read


def test_a_plateau_begins_where_the_rate_is_nearly_the_highest() -> None:
    assert cliff_readings.plateau({1: 10, 2: 20, 4: 40, 8: 40}) == pytest.approx(3.8)
    assert cliff_readings.plateau({1: 39, 2: 40}) == 1


def test_half_speed_is_read_between_levels() -> None:
    assert cliff_readings.half({1: 10, 2: 20, 4: 20, 8: 20}) == pytest.approx(4)
    assert cliff_readings.half({1: 16, 2: 32, 8: 32}) == pytest.approx(4)
    with pytest.raises(ValueError, match="never reached"):
        cliff_readings.half({1: 10, 2: 20, 4: 40})


def test_slots_fall_where_a_fifth_is_lost_at_once_and_not_where_it_is_lost_bit_by_bit() -> None:
    assert cliff_readings.slots({2: 100, 4: 99, 8: 70, 16: 20}) == (4, 8)
    assert cliff_readings.slots({2: 100, 4: 85, 8: 75, 16: 65}) == (16, None)


def test_a_curve_that_still_grows_has_no_plateau() -> None:
    assert cliff_readings.by_shape({1: 10, 32: 100, 64: 104}) == "plateau"
    assert cliff_readings.by_shape({1: 10, 32: 100, 64: 106}) == "half"


def test_the_cause_is_read_one_level_beyond_the_position() -> None:
    assert cliff_readings.beyond([1, 10, 50, 100, 200], 45) == 100
    assert cliff_readings.beyond([1, 10, 50], 45) == 50
    assert cliff_readings.beyond([1, 10], 45) == 10


def test_littles_law_counts_those_inside() -> None:
    assert cliff_readings.carried(output_tps=2000, tpot_ms=30) == 60
    assert set(READINGS) >= {one.reading for one in found()}


def test_recorded_levels_are_measured_apart() -> None:
    from tests.cliff_recorded import metrics_of

    recording = load("np4")
    counted = [metrics_of(recording, level.users).requests for level in recording.levels]
    assert counted == [level.total for level in recording.levels]
