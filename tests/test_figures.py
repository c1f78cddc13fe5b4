"""Figures show what the results say: every point, nothing twice, nothing that is not known."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import plotly.graph_objects
import pytest

from reports.document import Document
from reports.figures import (
    attainment,
    blocks,
    breakdown,
    capacity,
    latency,
    memory,
    sensitivity,
    slots,
    throughput,
    waterfall,
)
from reports.figures.canvas import Figure, duration_axis, even_ticks, load_axis
from reports.labels import bounds_ms
from reports.palette import styles
from tests.sample_results import EMPTY, LARGE, LOADS, cliff, closeup, point, results, variant

CURVES: dict[str, tuple[Callable[[Document], Figure], str, Callable[[Any], float]]] = {
    "throughput": (throughput.draw, "output_tps", lambda at: at.output_tps.value),
    "attainment": (attainment.draw, "attainment", lambda at: 100 * at.attainment),
    **{
        f"{metric} {name}": (
            lambda document, metric=metric: latency.draw(document, metric),  # type: ignore[misc]
            name,
            lambda at, metric=metric, name=name: getattr(getattr(at, f"{metric}_ms"), name),  # type: ignore[misc]
        )
        for metric in latency.NAMES
        for name in ("p50", "p99")
    },
}


def traces(drawn: Figure, curve: str) -> list[dict[str, Any]]:
    return [trace for trace in drawn["data"] if trace["meta"]["curve"] == curve]


def all_figures(document: Document) -> Iterator[Figure]:
    yield from (throughput.draw(document), attainment.draw(document), capacity.draw(document))
    yield from (latency.draw(document, metric) for metric in latency.NAMES)
    for row in document.variants:
        yield breakdown.draw(document, row.id)
        if row.memory is not None:
            yield memory.draw(document, row.id)
    for close in document.details:
        yield from (slots.draw(close), blocks.draw(close), waterfall.draw(close))
    yield from (sensitivity.draw(document, name) for name in sensitivity.parameters(document))


# -- curves


@pytest.mark.parametrize("name", CURVES)
def test_every_point_of_the_results_is_on_its_curve(name: str) -> None:
    draw, curve, value = CURVES[name]
    document = results()
    drawn = {
        (trace["meta"]["variant"], x): y
        for trace in traces(draw(document), curve)
        for x, y in zip(trace["x"], trace["y"], strict=True)
    }
    assert drawn == {(at.variant, at.users): value(at) for at in document.points}
    assert len(drawn) == 2 * len(LOADS)


@pytest.mark.parametrize("name", CURVES)
def test_hovering_over_a_point_tells_its_variant_and_load(name: str) -> None:
    draw, curve, _ = CURVES[name]
    for trace in traces(draw(results()), curve):
        for x, text in zip(trace["x"], trace["hovertext"], strict=True):
            assert text.startswith(f"<b>{trace['meta']['variant']}</b>, {x} user")


def test_hovering_tells_values_with_their_units() -> None:
    (told, *_) = traces(latency.draw(results(), "ttft"), "p99")[0]["hovertext"]
    assert "TTFT p99 600 ms (seeds 525 ms to 675 ms)" in told
    assert "2,000 samples" in told
    assert "100% of requests within the SLO" in told
    assert "90 tokens/s (seeds 85 to 95)" in traces(throughput.draw(results()), "output_tps")[0]["hovertext"][0]


def test_a_band_reaches_from_the_lowest_to_the_highest_seed() -> None:
    (band, *_) = traces(throughput.draw(results()), "output_tps, seeds")
    count = len(LOADS)
    assert band["x"] == [*LOADS, *reversed(LOADS)]
    assert band["y"][:count] == [85.0 * users for users in LOADS]
    assert band["y"][count:] == [95.0 * users for users in reversed(LOADS)]


def test_one_seed_has_no_band() -> None:
    alike = point("vllm", 1).output_tps
    alone = point("vllm", 1, output_tps=type(alike)(90.0, 90.0, 90.0))
    assert traces(throughput.draw(results(points=(alone,))), "output_tps, seeds") == []


def test_past_the_stability_limit_no_latency_is_drawn_but_throughput_is() -> None:
    document = results(points=(point("vllm", 1), point("vllm", 2, status="unstable")))
    assert traces(latency.draw(document, "ttft"), "p99")[0]["y"] == [600.0, None]
    assert traces(throughput.draw(document), "output_tps")[0]["y"] == [90.0, 180.0]


def test_rates_of_arrival_are_an_axis_of_their_own() -> None:
    rates = tuple(replace(point("vllm", 1), users=None, rate=rate, load="poisson") for rate in (0.5, 1.5))
    drawn = throughput.draw(results(points=rates, cliffs=()))
    assert traces(drawn, "output_tps")[0]["x"] == [0.5, 1.5]
    assert drawn["layout"]["xaxis"]["title"]["text"] == "requests per second"


def test_the_slo_is_a_line_at_its_bound() -> None:
    drawn = latency.draw(results(), "ttft")
    lines = [shape for shape in drawn["layout"]["shapes"] if shape["type"] == "line"]
    assert [line["y0"] for line in lines] == [1000.0]
    assert [note["text"] for note in drawn["layout"]["annotations"]] == ["SLO 1 s"]
    assert latency.draw(results(), "e2e")["layout"]["annotations"] == []


def test_the_bounds_are_read_from_the_scenario() -> None:
    assert bounds_ms(results(scenario={"slo": "ttft=0.5s,tpot=40ms,e2e=2m"})) == {
        "ttft": 500.0,
        "tpot": 40.0,
        "e2e": 120_000.0,
    }
    assert bounds_ms(EMPTY) == {}


def test_the_cliff_is_shaded_where_ttft_rises_or_where_the_slo_breaks() -> None:
    shapes = throughput.draw(results())["layout"]["shapes"]
    assert {shape["name"]: (shape["x0"], shape["x1"]) for shape in shapes} == {"ollama": (2, 4), "vllm": (4, 8)}
    gradual = results(cliffs=(cliff("vllm", status="not_reached", first_failing_users=None, cliff=None),))
    assert throughput.draw(gradual)["layout"]["shapes"] == []


# -- bars


def test_the_parts_of_a_wait_are_as_high_as_the_results_say() -> None:
    drawn = breakdown.draw(results(), "vllm")
    assert {trace["meta"]["curve"]: trace["y"] for trace in drawn["data"]} == {
        "queue": [100.0 * users for users in LOADS],
        "own_prefill": [40.0] * 4,
        "others_prefill": [5.0] * 4,
        "decode": [5.0] * 4,
    }


def test_the_wait_is_drawn_to_twice_the_first_load_that_fails() -> None:
    near = results(cliffs=(cliff("vllm", capacity_users=1, first_failing_users=2),))
    assert breakdown.draw(near, "vllm")["data"][0]["x"] == ["1", "2", "4"]


def test_memory_adds_up_to_what_the_engine_takes() -> None:
    drawn = memory.draw(results(), "vllm")
    heights = {trace["meta"]["curve"]: trace["y"] for trace in drawn["data"]}
    assert heights["weights"] == [15.0] * 4
    assert heights["used"] == pytest.approx([20.0 * 0.05 * users for users in LOADS])
    assert heights["internal"] == pytest.approx([2.0] * 4)
    totals = [sum(parts) for parts in zip(*heights.values(), strict=True)]
    assert totals == pytest.approx([36.5] * 4)


def test_a_line_stands_before_the_first_load_that_fails() -> None:
    (edge,) = memory.draw(results(), "vllm")["layout"]["shapes"]
    assert edge["x0"] == LOADS.index(8) - 0.5


def test_what_does_not_fit_has_no_bar_and_says_so() -> None:
    drawn = capacity.draw(results())
    assert drawn["data"][0]["y"] == ["ollama", "vllm", "vllm-70b"]
    assert drawn["data"][0]["x"] == [2, 4, 0]
    notes = [note["text"] for note in drawn["layout"]["annotations"]]
    assert notes == ["<b>2</b> (3–6)", "<b>4</b> (3–6)", "does not fit in memory"]


def test_the_whisker_ends_where_the_band_does() -> None:
    whisker = capacity.draw(results(cliffs=(cliff("vllm"),), variants=(variant("vllm"),)))["data"][0]["error_x"]
    assert (whisker["array"], whisker["arrayminus"], whisker["visible"]) == ([2], [1], True)


# -- close-ups


def test_every_bar_of_a_close_up_is_drawn_once_on_its_slot() -> None:
    close = closeup("ollama", slots=True)
    drawn = [
        (trace["meta"]["curve"], row, start, round(start + length, 9))
        for trace in slots.draw(close)["data"]
        for row, start, length in zip(trace["y"], trace["base"], trace["x"], strict=True)
    ]
    lived = sorted((bar.kind, bar.start_s, bar.end_s) for bar in close.gantt)
    assert sorted((kind, start, end) for kind, _, start, end in drawn) == lived
    assert {row for kind, row, _, _ in drawn if kind != "queue"} == {"slot 0"}


def test_nobody_who_waits_is_drawn_over_another() -> None:
    (queue,) = [
        trace for trace in slots.draw(closeup("ollama", slots=True))["data"] if trace["meta"]["curve"] == "queue"
    ]
    stretches = sorted(zip(queue["y"], queue["base"], queue["x"], strict=True))
    assert {row for row, _, _ in stretches} == {"waiting 1", "waiting 2"}
    assert all(a[0] != b[0] or a[1] + a[2] <= b[1] for a, b in pairwise(stretches))


def test_a_request_lasts_from_its_arrival_to_its_end() -> None:
    close = closeup("vllm", slots=False)
    lasted = [0.0] * len(close.waterfall)
    for trace in waterfall.draw(close)["data"]:
        for row, length in zip(trace["y"], trace["x"], strict=True):
            lasted[row - 1] += length
    assert lasted == pytest.approx([life.end_s - life.arrival_s for life in close.waterfall])


def test_occupancy_is_a_share_of_the_cache() -> None:
    close = closeup("vllm", slots=False)
    used, running, waiting = blocks.draw(close)["data"]
    assert used["y"] == pytest.approx([moment.used_tokens / 10 for moment in close.occupancy])
    assert running["y"] == [moment.running for moment in close.occupancy]
    assert waiting["y"] == [moment.waiting for moment in close.occupancy]
    assert "100 of 1,000 tokens (10.0%)" in used["hovertext"][1]


def test_every_row_of_the_sensitivity_is_on_its_line() -> None:
    document = results()
    (name,) = sensitivity.parameters(document)
    lines = traces(sensitivity.draw(document, name), "capacity_users")
    drawn = {(line["meta"]["variant"], x): y for line in lines for x, y in zip(line["x"], line["y"], strict=True)}
    assert drawn == {(row.variant, row.value): row.capacity_users for row in document.sensitivity}


# -- all of them


@pytest.mark.parametrize(
    "document",
    [results(), results(variants=(variant("vllm"),)), results(variants=(LARGE,), points=(), cliffs=()), EMPTY],
    ids=["several", "one variant", "nothing fits", "empty"],
)
def test_plotly_knows_every_property_of_every_figure(document: Document) -> None:
    figures = list(all_figures(document))
    assert len(figures) >= 8
    for drawn in figures:
        assert plotly.graph_objects.Figure(drawn).to_dict()["layout"]


def test_a_hostile_name_is_no_markup_in_a_figure() -> None:
    name = "<img src=x onerror=alert(1)>"
    document = results(
        variants=(variant(name),), points=tuple(point(name, users) for users in LOADS), cliffs=(cliff(name),)
    )
    for drawn in (throughput.draw(document), capacity.draw(document), memory.draw(document, name)):
        told = [text for trace in drawn["data"] for text in [trace.get("name", ""), *trace.get("hovertext", ())]]
        assert told
        assert not any("<img" in text for text in told)
    assert "<img" not in str(capacity.draw(document)["data"][0]["y"])


# -- colours and axes

# Machado, Oliveira and Fernandes 2009, severity 1.0: what the missing cone leaves of linear red, green and blue.
BLINDNESS = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}


def perceived(colour: str, kind: str) -> tuple[float, ...]:
    """A colour in CIE L*a*b* as an eye of that kind sees it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in channels]
    seen = [min(max(sum(w * c for w, c in zip(row, linear, strict=True)), 0.0), 1.0) for row in BLINDNESS[kind]]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    x, y, z = (
        (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116)
        for t in (
            sum(w * c for w, c in zip(row, seen, strict=True)) / at for row, at in zip(to_xyz, white, strict=True)
        )
    )
    return (116 * y - 16, 500 * (x - y), 200 * (y - z))


@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_variants_of_the_default_comparison_differ_to_every_eye(kind: str) -> None:
    look = styles(results(variants=tuple(variant(str(place)) for place in range(5))))
    seen = [perceived(style.colour, kind) for style in look.values()]
    nearest = min(math.dist(a, b) for place, a in enumerate(seen) for b in seen[:place])
    assert nearest > 10
    assert len({style.symbol for style in look.values()}) == 5


def test_no_two_of_twenty_variants_look_the_same() -> None:
    look = styles(results(variants=tuple(variant(str(place)) for place in range(20))))
    assert len(set(look.values())) == 20


def test_ticks_of_users_are_powers_of_two() -> None:
    axis = load_axis([1, 5, 64], by_rate=False)
    assert axis["tickvals"] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize(("values", "scale"), [([10, 200], "linear"), ([10, 2000], "log"), ([], "linear")])
def test_durations_that_differ_much_have_powers_of_ten(values: list[float], scale: str) -> None:
    assert duration_axis(values, "TTFT")["type"] == scale


def test_even_ticks_are_round_and_reach_the_highest_value() -> None:
    assert even_ticks(36.5) == [0, 10, 20, 30]
    assert even_ticks(1345.0) == [0, 500, 1000]
    assert even_ticks(5.0) == [0, 1, 2, 3, 4, 5]
