"""Servers' logs and the timings in their answers: what is inside each figure, and what is left out by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.parsing.server_header import header_of
from calibration.parsing.slot_log import served
from calibration.points import Point, Reading
from calibration.reading import read

FORMATS = Path(__file__).parent / "data" / "formats"
RECORDED = Path(__file__).parent / "data" / "recorded"


def points(name: str) -> tuple[Point, ...]:
    return read(FORMATS / name).points


def written(tmp_path: Path, text: str) -> Reading:
    (tmp_path / "log").write_text(text, encoding="utf-8")
    return read(tmp_path / "log")


# -- llama-server's log


def test_a_slots_eval_time_spans_one_token_fewer_than_it_counts() -> None:
    alone = points("llama_server_log.log")[0]
    assert (alone.load, alone.prompt_tokens, alone.output_tokens) == ("single", 100, 21)
    assert (alone.ttft_ms_mean, alone.tpot_ms_mean, alone.e2e_ms_mean) == (50, 200 / 20, 250)
    assert alone.output_tps == pytest.approx(21 / 0.25)


def test_what_the_slot_had_kept_is_the_depth() -> None:
    assert [point.depth_tokens for point in points("llama_server_log.log")] == [0, 146 - 110 - 20, 0]


def test_requests_beside_each_other_are_a_load_whose_wait_is_unknown() -> None:
    shared = points("llama_server_log.log")[2]
    assert (shared.load, shared.load_value, shared.slots) == ("closed", 2, 2)
    assert shared.tpot_ms_mean == (300 + 340) / 40
    assert (shared.ttft_ms_mean, shared.e2e_ms_mean, shared.output_tps) == (None, None, None)


def test_the_log_says_what_served() -> None:
    point = points("llama_server_log.log")[0]
    assert (point.engine, point.engine_version, point.weights) == ("llama.cpp", "b9001", "q4_k_m")
    assert (point.gpu, point.model, point.context, point.kv_tokens) == ("rtx-4080", "Tiny-1B", 4096, 8192)


def test_a_request_that_is_no_measurement_is_refused_where_it_stands() -> None:
    found = read(FORMATS / "llama_server_log.log")
    assert [(one.line, one.field) for one in found.rejected] == [(11, "task"), (35, "eval time"), (39, "eval_tokens")]
    used = sum(int(point.notes.split("; ")[1].split()[0]) for point in found.points)
    assert used + len(found.rejected) == found.facts["requests"] == 7


def test_figures_on_lines_of_their_own_belong_to_the_slot_named_before() -> None:
    alone, shared = points("llama_server_log_2025.log")
    assert (alone.ttft_ms_mean, alone.tpot_ms_mean, alone.depth_tokens) == (30, 10, 0)
    assert (shared.load_value, shared.tpot_ms_mean, shared.depth_tokens) == (2, 14, 10)


def test_the_oldest_lines_are_read_too() -> None:
    point, prompts = points("llama_server_log_2024.log")
    assert (point.ttft_ms_mean, point.tpot_ms_mean, point.context, point.slots) == (500, 2000 / 100, 8192, 1)
    assert (prompts.load, prompts.load_value, prompts.ttft_ms_mean, prompts.tpot_ms_mean) == ("prefill", 200, 500, None)


def as_json(line: str) -> str:
    """A line of the middle of 2024 as releases of its beginning printed it."""
    function, _, rest = line.partition("[")[2].partition("] ")
    message, _, values = rest.partition(" | ")
    said = dict(pair.split("=") for pair in values.replace("id_slot", "slot_id").replace("id_task", "task_id").split())
    return json.dumps({"function": function.strip(), "msg": message, **said}, separators=(",", ":"))


def test_lines_of_json_mean_what_the_lines_that_followed_them_mean(tmp_path: Path) -> None:
    lines = (FORMATS / "llama_server_log_2024.log").read_text().splitlines()
    found = written(tmp_path, "\n".join(f"ollama | {as_json(line)}" for line in lines))
    plain = points("llama_server_log_2024.log")
    assert [replace(one, source_id=plain[0].source_id) for one in found.points] == list(plain)
    assert found.facts["requests"] == 1


def test_inside_ollama_the_model_is_named_by_its_file_and_not_by_its_checksum() -> None:
    (point,) = points("llama_server_log_ollama.log")
    assert (point.engine, point.engine_version, point.model, point.weights) == ("ollama", "0.33.0", "Tiny 1B", "q4_k_m")
    assert point.engine_options == "ctx-size=4096;parallel=1;n-gpu-layers=99"


@pytest.mark.parametrize(
    ("written", "version"),
    [
        ("build_info: b8680-15f786e65", "b8680"),
        ("build: 5163 (0a1b2c3d) with cc", "b5163"),
        ('INFO [main] build info | tid="1" build=3614 commit="a1631e53"', "b3614"),
        ("build_info: b8680-15f786e65\nbuild: 8680 (15f786e65) with cc", "b8680"),
    ],
)
def test_the_build_is_read_in_every_spelling(written: str, version: str) -> None:
    assert header_of(f"{written}\n").version == version


@pytest.mark.parametrize(
    ("path", "file_type", "weights"),
    [
        ("models/Qwen3-8B-Q8_0-00001-of-00002.gguf", "all F32 (guessed)", "q8_0"),
        ("models/Qwen3-8B-UD-Q9_K_XL.gguf", "Q4_K - Medium", "q4_k_m"),
        ("models/Qwen3-8B-UD-Q9_K_XL.gguf", "not said", "q9_k_xl"),
        ("models/Qwen3-8B.gguf", "Q6_K", "q6_k"),
    ],
)
def test_the_weights_are_what_the_file_is_called_where_that_is_a_format(
    path: str, file_type: str, weights: str
) -> None:
    log = f"srv load_model: loading model '{path}'\nprint_info: file type   = {file_type}\n"
    assert header_of(log).weights == weights


def test_a_log_of_two_different_servers_leaves_blank_what_differs(tmp_path: Path) -> None:
    both = "".join((FORMATS / name).read_text() for name in ("llama_server_log.log", "llama_server_log_2025.log"))
    found = written(tmp_path, both)
    assert {(point.model, point.engine_version) for point in found.points} == {("unstated", "")}
    assert "different path, build" in found.warnings[-1]


def test_a_load_that_too_few_requests_held_is_no_load(tmp_path: Path) -> None:
    lines = (FORMATS / "llama_server_log.log").read_text().splitlines(keepends=True)
    without_its_neighbour = [line for line in lines if "task 47" not in line or "launch" in line]
    found = written(tmp_path, "".join(without_its_neighbour))
    assert [point.load for point in found.points] == ["single", "single"]
    assert "too few" in next(one.reason for one in found.rejected if "beside" in one.reason)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_slots_that_are_busy_one_after_another_have_no_company(lengths: list[int]) -> None:
    events = [
        (task, mark) for task in range(len(lengths)) for mark in ("processing task", "stop processing: n_tokens = 9")
    ]
    log = "\n".join(f"slot x: id  0 | task {task} | {mark}" for task, mark in events)
    assert [request.busy for request in served(log)] == [1.0] * len(lengths)


@given(st.integers(1, 30))
def test_slots_that_are_busy_all_at_once_are_each_others_company(users: int) -> None:
    began = [f"0.01.000.000 I slot launch: id {slot} | task {slot} | processing task" for slot in range(users)]
    ended = [f"0.02.000.000 I slot release: id {slot} | task {slot} | stop processing: n" for slot in range(users)]
    assert [request.busy for request in served("\n".join(began + ended))] == pytest.approx([users] * users)


# -- answers


def test_only_the_chunk_that_ends_a_stream_counts() -> None:
    kept, fresh = points("llama_server_timings.txt")
    assert (fresh.prompt_tokens, fresh.ttft_ms_mean, fresh.tpot_ms_mean, fresh.depth_tokens) == (100, 50, 10, 0)
    assert (kept.prompt_tokens, kept.depth_tokens, kept.tpot_ms_mean) == (10, 90, 10.5)
    (refusal,) = read(FORMATS / "llama_server_timings.txt").rejected
    assert (refusal.line, str(refusal.field)) == (11, "timings.prompt_ms")


def test_guessed_tokens_are_said_to_be_guessed(tmp_path: Path) -> None:
    text = '{"timings": {"prompt_n": 9, "prompt_ms": 5, "predicted_n": 9, "predicted_ms": 8, "draft_n": 4}}'
    assert written(tmp_path, text).points[0].engine_options == "speculative"


def test_ollamas_nanoseconds_and_gaps() -> None:
    point = next(point for point in points("ollama_api.jsonl") if point.model == "tiny:1b")
    assert (point.ttft_ms_mean, point.tpot_ms_mean, point.prompt_tokens) == (60, (200 + 220) / 40, 105)
    assert (point.engine, point.load) == ("ollama", "single")
    assert point.output_tps == pytest.approx(42 / 0.54)


def test_an_answer_that_waited_for_a_slot_keeps_its_steps_only() -> None:
    point = next(point for point in points("ollama_api.jsonl") if point.model == "big:8b")
    assert (point.tpot_ms_mean, point.ttft_ms_mean, point.e2e_ms_mean) == (40, None, None)


def test_the_answer_that_loaded_the_model_is_left_out_unless_it_is_alone(tmp_path: Path) -> None:
    first, fifth = read(FORMATS / "ollama_api.jsonl").rejected
    assert (first.line, first.field, fifth.line, fifth.field) == (1, "load_duration", 5, "eval_count")
    alone = written(tmp_path, (FORMATS / "ollama_api.jsonl").read_text().splitlines()[0])
    assert alone.points[0].ttft_ms_mean == 90


# -- vLLM


def test_the_pool_of_a_vllm_server_is_a_fact() -> None:
    found = read(FORMATS / "vllm_server_log.log")
    assert (found.facts["kv_tokens"], found.facts["kv_gib"], found.facts["engine_version"]) == (100_000, 10.5, "0.30.0")
    point = found.points[0]
    assert (point.gpu_count, point.slots, point.context, point.weights) == (2, 64, 4096, "bf16")
    assert point.engine_options == "no-enable-prefix-caching"


def test_a_stretch_with_prompts_is_a_closed_load_of_all_that_ran_and_waited() -> None:
    closed = points("vllm_server_log.log")[0]
    assert (closed.load, closed.load_value, closed.output_tps) == ("closed", 10, 640)


def test_a_stretch_without_prompts_is_decode_steps() -> None:
    decode = points("vllm_server_log.log")[1]
    assert (decode.load, decode.load_value, decode.tpot_ms_mean) == ("decode_step", 8, 10)
    assert decode.depth_tokens == pytest.approx(0.16 * 100_000 / 8)


def test_stretches_in_which_requests_came_or_went_are_refused() -> None:
    refused = read(FORMATS / "vllm_server_log.log").rejected
    assert [(one.line, one.field) for one in refused] == [(6, "Running"), (8, "Avg prompt throughput"), (10, "Running")]


def test_a_log_that_ends_before_anything_was_served_says_so(tmp_path: Path) -> None:
    started = (FORMATS / "vllm_server_log_v0.log").read_text().splitlines()[:2]
    found = written(tmp_path, "\n".join(started))
    assert (found.points, found.rejected, found.facts["blocks"]) == ((), (), 1000)
    assert found.warnings[-1] == "nothing that was measured stands in it"


def test_blocks_of_an_older_version_are_sixteen_tokens() -> None:
    found = read(FORMATS / "vllm_server_log_v0.log")
    assert (found.facts["blocks"], found.facts["kv_tokens"]) == (1000, 16_000)
    assert (found.points[0].weights, found.points[0].engine_options) == ("awq", "enforce-eager;kv-cache-dtype=fp8")
    assert [one.field for one in found.rejected] == ["Running", "Avg generation throughput"]


def test_steps_of_a_kind_make_a_point() -> None:
    prompt, one, later, four = points("vllm_iterations.log")
    assert (prompt.load, prompt.load_value, prompt.ttft_ms_mean, prompt.ttft_ms_p50) == ("prefill", 101, 30.75, 30)
    assert (one.load, one.load_value, one.tpot_ms_mean, one.depth_tokens) == ("decode_step", 1, 10, 100)
    assert (later.tpot_ms_mean, later.depth_tokens) == (14, 900)
    assert (four.load_value, four.tpot_ms_mean, four.depth_tokens) == (4, 12, 100)


def test_steps_that_make_no_point_are_counted() -> None:
    found = read(FORMATS / "vllm_iterations.log")
    counted = "of 18 steps, 3 mix prompts and decodes and 1 have fewer than 3 like them"
    assert counted in found.warnings
    assert [(one.line, one.field) for one in found.rejected] == [(21, "ctx_reqs")]


def test_a_table_of_steps_knows_one_context_only() -> None:
    found = read(FORMATS / "vllm_iterations.csv")
    assert {point.depth_tokens for point in found.points if point.load == "decode_step"} == {(404 + 21 / 2) / 4}
    assert [(one.line, one.field) for one in found.rejected] == [(20, "elapsed_ms")]


def test_a_real_run_has_a_point_for_each_number_of_decodes() -> None:
    table = read(RECORDED / "vllm-cpu" / "seqs64_kv2048tok.iterations.csv.gz")
    by_rows = {point.load_value: point.tpot_ms_mean for point in table.points if point.load == "decode_step"}
    assert by_rows[4] == pytest.approx(15.94, rel=0.01)
    assert by_rows[9] == pytest.approx(19.54, rel=0.01)
