"""Files of other tools: told by their content, filled with what is given, refused by place."""

import gzip
import json
from dataclasses import fields
from pathlib import Path

import pytest

from calibration import reading as reading_module
from calibration.points import ENGINES, LOADS, Point, Reading
from calibration.reading import known_formats, read
from sim.errors import BadScenario, UnknownName, UsageError

FORMATS = Path(__file__).parent / "data" / "formats"
DOCUMENTED = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")


def reading(name: str) -> Reading:
    return read(FORMATS / name)


def only(name: str) -> Point:
    (point,) = reading(name).points
    return point


# name: format, points, refused rows
FILES = {
    "vllm_bench_closed.json": ("vllm bench serve", 1, 0),
    "vllm_bench_failed.json": ("vllm bench serve", 0, 1),
    "vllm_bench_rates.jsonl": ("vllm bench serve", 3, 1),
    "vllm_bench_sweep.json": ("vllm bench serve", 2, 0),
    "vllm_console.txt": ("vllm bench serve, printed", 2, 0),
    "guidellm_v1.json": ("GuideLLM", 1, 0),
    "guidellm_v2.json": ("GuideLLM", 5, 2),
    "aiperf.json": ("AIPerf", 1, 0),
    "aiperf_rate.json": ("AIPerf", 1, 0),
    "genai_perf.json": ("AIPerf", 1, 0),
    "llama_bench.json": ("llama-bench", 5, 0),
    "llama_bench.jsonl": ("llama-bench", 5, 0),
    "llama_bench.csv": ("llama-bench", 5, 0),
    "llama_bench.md": ("llama-bench", 5, 0),
    "llama_bench_old.md": ("llama-bench", 2, 1),
    "llama_batched_bench.md": ("llama-batched-bench", 3 * 3, 1),  # a batch, its prompts and a step a row
    "llama_batched_bench.jsonl": ("llama-batched-bench", 3 * 3, 1),
    "ollama_verbose.txt": ("ollama run --verbose", 3, 2),
    "points.csv": ("points CSV", 3, 0),
    "recording.jsonl": ("simctl recording", 2, 1),
}


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_a_file_is_a_point_or_a_refusal(name: str) -> None:
    found = reading(name)
    assert (found.format, len(found.points), len(found.rejected)) == FILES[name]
    assert found.format in known_formats()
    assert all(point.load in LOADS and point.load_value > 0 for point in found.points)
    assert all(str(FORMATS / name) in str(refusal) and refusal.reason for refusal in found.rejected)


def test_a_reading_warns_of_what_its_own_figures_do_not_mean() -> None:
    def warned(name: str, words: str) -> bool:
        return any(words in warning for warning in reading(name).warnings)

    assert warned("vllm_bench_rates.jsonl", "a burst's tail")
    assert not warned("vllm_bench_closed.json", "a burst's tail")
    assert warned("vllm_bench_closed.json", "vllm is assumed")
    assert warned("llama_bench.md", "-ub is tokens of one prompt")
    assert not warned("llama_bench_old.md", "-ub is tokens of one prompt")
    assert warned("recording.jsonl", "fewer and fewer")
    assert warned("guidellm_v2.json", "stands as TPOT")


def test_an_engine_that_is_given_is_not_warned_about() -> None:
    given = read(FORMATS / "vllm_bench_closed.json", {"engine": "vllm"})
    assert not any("assumed" in warning for warning in given.warnings)


def test_content_decides_whatever_a_file_is_called(tmp_path: Path) -> None:
    for name, (known, points, _) in FILES.items():
        disguised = tmp_path / "results"
        disguised.write_bytes((FORMATS / name).read_bytes())
        assert (read(disguised).format, len(read(disguised).points)) == (known, points)


def test_compressed_marked_and_wide_texts_are_read_alike(tmp_path: Path) -> None:
    text = (FORMATS / "vllm_bench_closed.json").read_text(encoding="utf-8")
    spellings = {
        "packed.json.gz": gzip.compress(text.encode()),
        "marked.json": text.encode("utf-8-sig"),
        "wide.json": text.encode("utf-16"),
        "dos.json": text.replace("\n", "\r\n").encode(),
    }
    for name, raw in spellings.items():
        (tmp_path / name).write_bytes(raw)
        assert (
            read(tmp_path / name, {"source_id": "x"}).points
            == read(FORMATS / "vllm_bench_closed.json", {"source_id": "x"}).points
        )


def test_an_unknown_content_is_refused_with_the_formats_that_are_known(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("420 tokens a second, believe me\n")
    with pytest.raises(BadScenario, match=r"notes\.txt.*known: .*GuideLLM"):
        read(path)


@pytest.mark.parametrize(
    ("written", "name", "instead"),
    [
        ('{"avg_latency": 1.5, "latencies": [1.5], "percentiles": {}}', "vllm bench latency", "vllm bench serve"),
        (
            '{"elapsed_time": 9.0, "num_requests": 8, "total_num_tokens": 90, "tokens_per_second": 10.0}',
            "vllm bench throughput",
            "vllm bench serve",
        ),
        ('{"backend": "sglang", "random_input_len": 9, "output_throughput": 9.0}', "SGLang's bench_serving", "prints"),
        ('{"results_ttft_s_mean": 0.1}', "LLMPerf", "points table"),
        ('[{"inter_token_latency_s": 0.01, "ttft_s": 0.1}]', "LLMPerf's single requests", "points table"),
        ("metadata:\n  guidellm_version: 0.5.0\nbenchmarks:\n- type_: x\n", "GuideLLM in YAML", "benchmarks.json"),
        ("Metric,avg,min\nRequest Latency (ms),1.0,1.0\n", "AIPerf's CSV", "profile_export_aiperf.json"),
        ("| model | test | t/s (total) | ttfr (ms) |\n", "llama-benchy", "points table"),
        ("INSERT INTO test (build_commit, avg_ts, n_gen, n_prompt) VALUES (1);", "llama-bench in SQL", "-o json"),
        ('[GIN] 2026/02/21 - 12:10:32 | 200 | 2m38s | POST "/api/chat"\n', "Ollama's log", "answers of /api/generate"),
    ],
)
def test_a_file_taken_for_one_that_is_read_is_refused_with_what_to_hand_over(
    written: str, name: str, instead: str, tmp_path: Path
) -> None:
    path = tmp_path / "results"
    path.write_text(written)
    with pytest.raises(BadScenario, match=rf"results: {name} is not read: .*{instead}"):
        read(path)


def test_a_long_stream_is_known_by_its_end(tmp_path: Path) -> None:
    piece = json.dumps({"model": "llama3.1:8b", "response": " word", "done": False}) + "\n"
    answer = (FORMATS / "ollama_api.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    path = tmp_path / "answer.jsonl"
    path.write_text(piece * (2 * reading_module.HEAD // len(piece)) + answer)
    assert (read(path).format, len(read(path).points)) == ("Ollama API", 1)


def test_objects_spread_over_lines_are_read_one_after_another(tmp_path: Path) -> None:
    text = (FORMATS / "vllm_bench_closed.json").read_text(encoding="utf-8")
    run = json.loads(text)
    runs = [run, run | {"mean_ttft_ms": "slow"}]
    path = tmp_path / "runs.json"
    path.write_text("\n".join(json.dumps(one, indent=2) for one in runs))
    found = read(path)
    line = path.read_text().splitlines().index('  "mean_ttft_ms": "slow",') + 1
    assert (len(found.points), [(one.line, one.field) for one in found.rejected]) == (1, [(line, "mean_ttft_ms")])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"gone\.json: cannot be read"):
        read(tmp_path / "gone.json")


def test_a_file_too_large_to_hold_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "LARGEST", 1 << 20)
    (tmp_path / "bomb").write_bytes(gzip.compress(b" " * (1 << 21)))
    with pytest.raises(BadScenario, match="bomb: larger than 1 MiB"):
        read(tmp_path / "bomb")


def test_every_file_of_the_folder_is_a_reader_of_a_format_of_its_own() -> None:
    folder = Path(reading_module.__file__).parent / "readers"
    assert len(known_formats()) == len(set(known_formats())) == len(list(folder.glob("[!_]*.py")))


# -- what the caller knows and the file does not


def test_given_values_fill_blanks_and_nothing_else() -> None:
    given = {"gpu": "l4", "gpu_count": "2", "weights": "fp8", "kv_tokens": "1024", "load": "single"}
    point = read(FORMATS / "vllm_bench_closed.json", given).points[0]
    assert (point.gpu, point.gpu_count, point.weights, point.kv_tokens) == ("l4", 2, "fp8", 1024)
    assert (point.load, point.model) == ("closed", "acme/Tiny-1B")
    stated = read(FORMATS / "points.csv", {"gpu": "h100", "gpu_count": "8"}).points
    assert [(point.gpu, point.gpu_count) for point in stated] == [("l4", 1), ("l4", 1), ("h100", 8)]


def test_a_given_name_replaces_one_that_the_catalogue_does_not_know() -> None:
    point = read(FORMATS / "vllm_bench_closed.json", {"model": "llama-3.1-8b"}).points[0]
    assert (point.model, point.notes) == ("llama-3.1-8b", "40 prompts; few requests; called 'acme/Tiny-1B'")
    stated = read(FORMATS / "points.csv", {"model": "qwen2.5-7b"}).points[0]
    assert (stated.model, "called" in stated.notes) == ("llama-3.1-8b", False)


def test_a_given_format_replaces_one_that_the_catalogue_does_not_know(tmp_path: Path) -> None:
    run = json.loads((FORMATS / "vllm_bench_closed.json").read_text(encoding="utf-8"))
    for written, weights, called in (("exl3", "q4_k_m", True), ("q8_0", "q8_0", False)):
        (tmp_path / "run.json").write_text(json.dumps(run | {"weights": written}))
        point = read(tmp_path / "run.json", {"weights": "q4_k_m"}).points[0]
        assert (point.weights, f"called '{written}'" in point.notes) == (weights, called)


def test_an_engine_that_is_given_goes_before_the_one_that_is_assumed() -> None:
    assert only("vllm_bench_closed.json").engine == "vllm"
    assert read(FORMATS / "vllm_bench_closed.json", {"engine": "llama.cpp"}).points[0].engine == "llama.cpp"
    assert only("aiperf.json").engine == ""


@pytest.mark.parametrize(
    ("engine", "model", "weights"),
    [
        ("vllm", "llama-3.1-8b", "bf16"),
        ("vllm", "deepseek-v3", "fp8"),
        ("vllm", "openai/gpt-oss-20b", "mxfp4"),
        ("ollama", "llama-3.1-8b", "q4_k_m"),
        ("ollama", "deepseek-v3", "q4_k_m"),
        ("ollama", "gpt-oss-20b", "mxfp4"),
        ("llama.cpp", "llama-3.1-8b", ""),
        ("vllm", "acme/Tiny-1B", ""),
    ],
)
def test_weights_that_nobody_states_are_those_that_the_engine_loads_by_the_models_name(
    engine: str, model: str, weights: str, tmp_path: Path
) -> None:
    (tmp_path / "own.csv").write_text(
        f"engine,load,load_value,gpu,model,tpot_ms_mean\n{engine},single,1,l4,{model},9\n"
    )
    found = read(tmp_path / "own.csv")
    assert (found.points[0].weights, f"{weights} is assumed" in found.warnings[0]) == (weights, bool(weights))


def test_what_a_point_cannot_do_without_is_asked_for() -> None:
    asked = read(FORMATS / "vllm_bench_closed.json").warnings
    assert asked[:3] == (
        "no card is stated: give it (calibrate: --gpu NAME, validate: --given gpu=NAME)",
        "model 'acme/Tiny-1B' is unknown: give it (calibrate: --model NAME, validate: --given model=NAME)",
        "no weight format is stated: give it (calibrate: --weights NAME, validate: --given weights=NAME)",
    )
    given = read(FORMATS / "vllm_bench_closed.json", {"gpu": "l4", "model": "llama-3.1-8b"}).warnings
    assert given[0] == "no weight format is stated: bf16 is assumed"
    assert not any("give it" in warning for warning in given)


def test_a_column_that_does_not_exist_cannot_be_given() -> None:
    with pytest.raises(UnknownName, match=r"'gpus': did you mean gpu"):
        read(FORMATS / "aiperf.json", {"gpus": "2"})


def test_a_count_that_is_no_count_cannot_be_given() -> None:
    with pytest.raises(UsageError, match=r"'slots' is given as 'many'"):
        read(FORMATS / "aiperf.json", {"slots": "many"})


# -- names as tools write them


@pytest.mark.parametrize(
    ("written", "model", "weights"),
    [
        ("Qwen/Qwen3-8B-FP8", "qwen3-8b", "fp8"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "qwen2.5-7b", "int8"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "llama-3.1-8b", "w4a16"),
        ("cyankiwi/Qwen3-30B-A3B-AWQ-4bit", "qwen3-30b-a3b", "awq"),
        ("/hub/models--Qwen--Qwen3-8B-AWQ/snapshots/7a1c0c26", "qwen3-8b", "awq"),
        ("llama3.1:8b-instruct-q4_K_M", "llama-3.1-8b", "q4_k_m"),
        ("llama3.1:latest", "llama-3.1-8b", "bf16"),
        ("mistral:latest", "mistral-7b", "bf16"),
        ("hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M", "qwen3-8b", "q4_k_m"),
        ("Qwen3-8B-UD-Q8_0.gguf", "qwen3-8b", "q8_0"),
        ("unsloth_Qwen3-8B-GGUF_Qwen3-8B-Q4_K_M.gguf", "qwen3-8b", "q4_k_m"),
    ],
)
def test_a_model_and_its_format_are_known_by_what_servers_call_them(
    written: str, model: str, weights: str, tmp_path: Path
) -> None:
    text = (FORMATS / "vllm_bench_closed.json").read_text(encoding="utf-8")
    (tmp_path / "run.json").write_text(text.replace("acme/Tiny-1B", written))
    point = read(tmp_path / "run.json").points[0]
    assert (point.model, point.weights) == (model, weights)


@pytest.mark.parametrize(
    ("written", "card"),
    [
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "rx-7900-xtx"),
        ("Intel(R) Arc(TM) B580 Graphics (BMG G21)", "arc-b580"),
        ("AMD Instinct MI300X VF", "mi300x"),
        ("AMD Radeon 8060S (RADV STRIX_HALO)", "strix-halo-395"),
        ("Radeon 8060S Graphics (RADV GFX1151)", "strix-halo-395"),
        ("AMD Radeon Graphics (RADV GFX1201)", "AMD Radeon Graphics (RADV GFX1201)"),
    ],
)
def test_a_card_is_known_by_what_its_driver_calls_it(written: str, card: str, tmp_path: Path) -> None:
    text = (FORMATS / "llama_bench.jsonl").read_text(encoding="utf-8")
    row = json.loads(text.split("\n")[0]) | {"gpu_info": written, "backends": "Vulkan"}
    (tmp_path / "bench.jsonl").write_text(json.dumps(row) + "\n")
    assert read(tmp_path / "bench.jsonl").points[0].gpu == card


# -- where it stands


@pytest.mark.parametrize(
    ("name", "written", "wrong", "refusal"),
    [
        (
            "vllm_bench_closed.json",
            '"mean_tpot_ms": 38.0',
            '"mean_tpot_ms": "slow"',
            "mean_tpot_ms: 'slow' is not a number",
        ),
        ("vllm_bench_closed.json", '"completed": 40', '"completed": 41', "completed: 41 requests of 40 sent"),
        (
            "vllm_bench_sweep.json",
            '"max_num_seqs": 8\n }\n]',
            '"max_num_seqs": -8\n }\n]',
            "max_num_seqs: -8 is negative",
        ),
        (
            "vllm_bench_rates.jsonl",
            '"total_input_tokens": 4000',
            '"total_input_tokens": []',
            "total_input_tokens: is a list or a table",
        ),
        ("aiperf.json", '"avg": 80.0', '"avg": NaN', "time_to_first_token.avg: 'nan' is not a number"),
        ("llama_bench.json", '"avg_ts": 8000.0', '"avg_ts": -8', "avg_ts: -8 is negative"),
        ("llama_bench.csv", '"8000.0"', '"8,000"', "avg_ts: '8,000' is not a number"),
        ("llama_bench.md", "8000.00 ±", "8000,00 ±", "avg_ts: '8000,00' is not a number"),
        ("llama_batched_bench.md", "6400.00 |    0.160 |", "6400.00 |", "cells: 9 where the header has 10"),
        ("recording.jsonl", '"t_send": 0.302', '"t_send": null', "t_send: is missing"),
    ],
)
def test_a_refusal_names_file_line_and_field(name: str, written: str, wrong: str, refusal: str, tmp_path: Path) -> None:
    text = (FORMATS / name).read_text(encoding="utf-8")
    line = text.count("\n", 0, text.index(written)) + 1
    path = tmp_path / name
    path.write_text(text.replace(written, wrong, 1), encoding="utf-8")
    assert f"{path}:{line}: {refusal}" in "\n".join(map(str, read(path).rejected))


@pytest.mark.parametrize("name", ["vllm_bench_closed.json", "guidellm_v2.json", "aiperf.json", "llama_bench.json"])
def test_a_file_cut_short_is_refused_with_the_line_of_the_cut(name: str, tmp_path: Path) -> None:
    text = (FORMATS / name).read_text(encoding="utf-8")
    path = tmp_path / name
    path.write_text(text[: len(text) - 9])
    with pytest.raises(BadScenario, match=rf"{path.name}:\d+: not valid JSON"):
        read(path)


def test_a_line_cut_short_loses_that_line_alone(tmp_path: Path) -> None:
    text = (FORMATS / "llama_bench.jsonl").read_text(encoding="utf-8")
    path = tmp_path / "cut.jsonl"
    path.write_text(text[:-9])
    found = read(path)
    assert (len(found.points), [(refusal.line, refusal.field) for refusal in found.rejected]) == (4, [(5, "line")])


# -- the documentation


@pytest.mark.parametrize("name", known_formats())
def test_every_format_is_documented(name: str) -> None:
    assert f"| {name} |" in DOCUMENTED


@pytest.mark.parametrize("name", [*(field.name for field in fields(Point)), *LOADS, *ENGINES])
def test_every_column_load_and_engine_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCUMENTED
