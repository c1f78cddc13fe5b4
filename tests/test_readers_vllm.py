"""`vllm bench serve`, in files and as printed: what load a run was, and what its figures are."""

import json
from pathlib import Path

import pytest

from calibration.points import Point, Reading
from calibration.reading import read

FORMATS = Path(__file__).parent / "data" / "formats"


def reading(name: str) -> Reading:
    return read(FORMATS / name)


def only(name: str) -> Point:
    (point,) = reading(name).points
    return point


def test_a_cap_below_the_number_of_prompts_is_a_closed_loop() -> None:
    point = only("vllm_bench_closed.json")
    assert (point.load, point.load_value) == ("closed", 4)
    assert (point.prompt_tokens, point.output_tokens, point.output_tps) == (100, 50, 100)
    assert (point.ttft_ms_mean, point.ttft_ms_p50, point.ttft_ms_p99) == (80, 70, 120)
    assert (point.tpot_ms_mean, point.itl_ms_mean, point.itl_ms_p99) == (38, 38.2, 60)
    assert (point.e2e_ms_mean, point.e2e_ms_p99, point.success_rate) == (1942, 2100, 1)


def test_rates_are_poisson_and_no_rate_without_a_cap_is_a_burst() -> None:
    found = reading("vllm_bench_rates.jsonl")
    assert [(point.load, point.load_value) for point in found.points] == [("poisson", 2), ("poisson", 8), ("burst", 40)]
    assert "only 6.1 of 8.0 requests a second" in found.points[1].notes
    assert (found.rejected[0].line, found.rejected[0].field) == (4, "burstiness")


def test_a_cap_that_no_prompt_waits_for_is_a_burst_and_a_cap_of_one_is_single() -> None:
    first, second = reading("vllm_bench_sweep.json").points
    assert (first.load, first.slots, "first run" in first.notes) == ("single", 8, True)
    assert (second.load, second.load_value) == ("burst", 40)


@pytest.mark.parametrize(
    ("change", "load"),
    [
        ({"request_rate": 2.0, "max_concurrency": 9}, ("poisson", 2)),
        ({"request_rate": 50.0, "max_concurrency": 9}, ("closed", 9)),
        ({"request_rate": "inf", "max_concurrency": None}, ("burst", 40)),
        ({"request_rate": float("inf"), "max_concurrency": 39}, ("closed", 39)),
        ({"request_rate": float("inf"), "max_concurrency": 40}, ("burst", 40)),
    ],
)
def test_rate_and_cap_come_to_one_load(change: dict[str, object], load: tuple[str, float], tmp_path: Path) -> None:
    run = json.loads((FORMATS / "vllm_bench_closed.json").read_text(encoding="utf-8"))
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run | change))
    (point,) = read(path).points
    assert (point.load, point.load_value) == load


def test_a_run_in_which_nothing_succeeded_is_refused_by_that_field() -> None:
    (refusal,) = reading("vllm_bench_failed.json").rejected
    assert (refusal.field, refusal.reason) == ("completed", "is 0")


def test_the_printed_block_means_what_the_file_means() -> None:
    first, second = reading("vllm_console.txt").points
    assert (first.load, first.load_value, first.model, first.success_rate) == ("closed", 4, "acme/Tiny-1B", 0.9)
    assert (second.load, second.load_value, second.model) == ("poisson", 2, "unstated")
    assert (second.tpot_ms_mean, second.itl_ms_p99, second.output_tokens) == (38, 60, 50)


def printed(tmp_path: Path, above: str, *inside: str) -> Point:
    """The point of a printed block of 36 requests with more lines above its figures and among them."""
    text = (FORMATS / "vllm_console.txt").read_text(encoding="utf-8")
    block = text[text.index("====") :].partition("\n\n")[0]
    title, _, figures = block.partition("\n")
    path = tmp_path / "console.txt"
    path.write_text("\n".join((above, title, *inside, figures)))
    (point,) = read(path).points
    return point


@pytest.mark.parametrize(("cap", "load"), [("4", ("closed", 4)), ("None", ("burst", 36))])
def test_a_cap_that_is_printed_above_the_block_alone_is_heeded(
    cap: str, load: tuple[str, float], tmp_path: Path
) -> None:
    point = printed(tmp_path, f"Traffic request rate: inf\nMaximum request concurrency: {cap}")
    assert (point.load, point.load_value) == load


@pytest.mark.parametrize(("cap", "load"), [("4", ("closed", 4)), ("not set", ("burst", 36))])
def test_the_block_that_sglang_prints_says_its_engine_load_and_latency(
    cap: str, load: tuple[str, float], tmp_path: Path
) -> None:
    lines = "Backend: sglang", "Traffic request rate: inf", f"Max request concurrency: {cap}"
    point = printed(tmp_path, "", *lines, "Mean E2E Latency (ms): 1942.0")
    assert (point.engine, point.load, point.load_value, point.e2e_ms_mean) == ("sglang", *load, 1942)


def test_a_run_that_a_log_holds_printed_and_as_json_counts_once(tmp_path: Path) -> None:
    run = json.loads((FORMATS / "vllm_bench_closed.json").read_text(encoding="utf-8"))
    printed_alone = (FORMATS / "vllm_console.txt").read_text(encoding="utf-8")
    exact = run | {"output_throughput": 100.004, "mean_ttft_ms": 79.996, "mean_itl_ms": 38.2041}
    path = tmp_path / "job.log"
    path.write_text(f"{printed_alone}\n<<<RESULT_START>>>\n{json.dumps(exact)}\n<<<RESULT_END>>>\n")
    found = read(path)
    assert [(point.load, point.output_tps) for point in found.points] == [("closed", 100.004), ("poisson", 100)]
    assert "1 of its runs stand there in two formats: each counts once" in found.warnings
