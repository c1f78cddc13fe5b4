"""GuideLLM and AIPerf: their names for a figure, and ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from calibration.points import Reading
from calibration.reading import read
from sim.errors import BadScenario

FORMATS = Path(__file__).parent / "data" / "formats"


def changed(name: str, tmp_path: Path, **top: Any) -> Reading:
    """The reading of a file with some of its outermost fields replaced."""
    path = tmp_path / name
    path.write_text(json.dumps(json.loads((FORMATS / name).read_text(encoding="utf-8")) | top))
    return read(path)


def test_guidellm_strategies_are_loads() -> None:
    loads = [(point.load, point.load_value) for point in read(FORMATS / "guidellm_v2.json").points]
    assert loads == [("single", 1), ("closed", 4), ("burst", 45), ("constant", 2), ("poisson", 2.5)]


@pytest.mark.parametrize("name", ["guidellm_v1.json", "guidellm_v2.json"])
def test_guidellms_inter_token_latency_is_tpot_and_its_tpot_is_left_alone(name: str) -> None:
    for point in read(FORMATS / name).points:
        assert point.tpot_ms_mean == 38
        assert point.itl_ms_mean is None


def test_guidellms_seconds_become_milliseconds() -> None:
    point = read(FORMATS / "guidellm_v1.json").points[0]
    assert (point.e2e_ms_mean, point.e2e_ms_p99) == pytest.approx((1942, 2100))
    assert (point.ttft_ms_mean, point.ttft_ms_p50, point.ttft_ms_p99) == (80, 70, 120)
    assert (point.model, point.success_rate) == ("acme/Tiny-1B", 0.95)


def test_requests_cut_short_by_the_end_are_no_failures() -> None:
    burst = read(FORMATS / "guidellm_v2.json").points[2]
    assert burst.success_rate == 38 / 40


def test_a_benchmark_of_guidellm_is_refused_by_its_place_in_the_report() -> None:
    failed, replay = read(FORMATS / "guidellm_v2.json").rejected
    assert failed.field == "benchmarks[5].metrics.request_totals.successful"
    assert replay.field == "benchmarks[6].config.strategy.type_"
    assert "'replay'" in replay.reason


@pytest.mark.parametrize(("cap", "load"), [(44, ("closed", 44)), (45, ("burst", 45))])
def test_a_throughput_run_of_guidellm_is_a_burst_where_nothing_waits(
    cap: int, load: tuple[str, float], tmp_path: Path
) -> None:
    report = json.loads((FORMATS / "guidellm_v2.json").read_text(encoding="utf-8"))
    one = report["benchmarks"][2]
    one["config"]["strategy"]["max_concurrency"] = cap
    (point,) = changed("guidellm_v2.json", tmp_path, benchmarks=[one]).points
    assert (point.load, point.load_value) == load


def test_a_benchmark_without_its_strategy_takes_it_from_the_plan(tmp_path: Path) -> None:
    report = json.loads((FORMATS / "guidellm_v2.json").read_text(encoding="utf-8"))
    one = report["benchmarks"][1]
    one["config"] = {"run_index": 1, "profile": {"kind": "concurrent", "streams": [2, 16]}}
    (point,) = changed("guidellm_v2.json", tmp_path, benchmarks=[one]).points
    assert (point.load, point.load_value) == ("closed", 16)


def test_a_report_of_guidellm_without_benchmarks_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"guidellm_v2\.json: benchmarks: is not a list"):
        changed("guidellm_v2.json", tmp_path, benchmarks={})


def test_aiperf_inter_token_latency_is_tpot() -> None:
    point = read(FORMATS / "aiperf.json").points[0]
    assert (point.tpot_ms_mean, point.itl_ms_mean) == (38, None)
    assert (point.load, point.load_value, point.model) == ("closed", 4, "acme/Tiny-1B")
    assert (point.output_tps, point.success_rate) == (95, 0.95)


def test_aiperf_units_are_heeded(tmp_path: Path) -> None:
    point = read(FORMATS / "aiperf_rate.json").points[0]
    assert (point.ttft_ms_mean, point.ttft_ms_p50, point.ttft_ms_p99) == pytest.approx((80, 70, 120))
    assert (point.load, point.load_value) == ("constant", 2)
    (refusal,) = changed("aiperf.json", tmp_path, request_latency={"unit": "parsec", "avg": 1.0}).rejected
    assert (refusal.field, refusal.reason) == ("request_latency.unit", "'parsec' is not a unit of time")


@pytest.mark.parametrize(("users", "load"), [(39, ("closed", 39)), (40, ("burst", 40)), (64, ("burst", 40))])
def test_as_many_in_flight_as_there_are_requests_is_a_burst(
    users: int, load: tuple[str, float], tmp_path: Path
) -> None:
    (point,) = changed("aiperf.json", tmp_path, input_config={"loadgen": {"concurrency": users}}).points
    assert (point.load, point.load_value) == load


def test_the_model_is_found_where_the_older_tool_keeps_it(tmp_path: Path) -> None:
    asked = {"model": ["openai/gpt-oss-20b"], "loadgen": {"concurrency": 4}}
    (point,) = changed("aiperf.json", tmp_path, input_config=asked).points
    assert point.model == "gpt-oss-20b"


def test_an_export_without_its_load_is_refused(tmp_path: Path) -> None:
    (refusal,) = changed("aiperf.json", tmp_path, input_config={}).rejected
    assert refusal.field == "input_config.concurrency"


def phases(*asked: dict[str, Any]) -> dict[str, Any]:
    """A configuration of AIPerf 0.10: named phases, those that warm up among them."""
    warmup = {"name": "warmup", "type": "concurrency", "exclude_from_results": True, "requests": 2, "concurrency": 2}
    served = {"items": [{"name": "acme/Tiny-1B"}]}
    return {"models": served, "datasets": [{"rate": 16_000}], "phases": [warmup, *asked]}


@pytest.mark.parametrize(
    ("phase", "load"),
    [
        ({"type": "concurrency", "concurrency": 16}, ("closed", 16)),
        ({"type": "poisson", "rate": 0.8}, ("poisson", 0.8)),
        ({"type": "constant", "rate": 2}, ("constant", 2)),
    ],
)
def test_the_load_is_that_of_the_phase_that_was_measured(
    phase: dict[str, Any], load: tuple[str, float], tmp_path: Path
) -> None:
    (point,) = changed("aiperf.json", tmp_path, input_config=phases(phase)).points
    assert (point.load, point.load_value, point.model) == (*load, "acme/Tiny-1B")


def test_a_phase_whose_arrivals_are_no_load_is_refused_by_its_type(tmp_path: Path) -> None:
    asked = phases({"type": "gamma", "rate": 2})
    (refusal,) = changed("aiperf.json", tmp_path, input_config=asked).rejected
    assert (refusal.field, refusal.reason.split()[0]) == ("input_config.phases.type", "'gamma'")


def test_the_older_tool_of_the_family_is_read_too() -> None:
    point = read(FORMATS / "genai_perf.json").points[0]
    assert (point.load, point.tpot_ms_mean, point.success_rate) == ("single", 38, None)
