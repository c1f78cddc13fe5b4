"""llama.cpp's benches and recordings: alone, as a batch, and as a closed loop."""

import json
from pathlib import Path

import pytest

from calibration.parsing.llamatext import model_and_weights
from calibration.points import Point
from calibration.reading import read
from sim.errors import BadScenario

FORMATS = Path(__file__).parent / "data" / "formats"
RECORDED = Path(__file__).parent / "data" / "recorded"


@pytest.mark.parametrize("name", ["llama_bench.json", "llama_bench.jsonl", "llama_bench.csv", "llama_bench.md"])
def test_every_form_of_llama_bench_says_the_same(name: str) -> None:
    prompt, answer, deep, both, fine = read(FORMATS / name).points
    assert (prompt.load, prompt.load_value, prompt.ttft_ms_mean) == ("prefill", 512, 64)
    assert (answer.load, answer.output_tps, answer.tpot_ms_mean, answer.depth_tokens) == ("single", 200, 5, 0)
    assert (deep.depth_tokens, deep.output_tps, deep.output_tokens) == (4096, 160, 128)
    assert (both.load, both.prompt_tokens, both.output_tokens, both.e2e_ms_mean) == ("single", 512, 128, 800)
    assert (fine.load, fine.load_value, fine.prompt_tokens, fine.tpot_ms_mean) == ("microbatch", 16, 512, 10)
    assert {point.weights for point in (prompt, deep, fine)} == {"q4_k_m"}
    assert (answer.gpu, answer.gpu_count, answer.engine_version) == ("rtx-4080", 1, "b5163")
    assert "flash-attn=1" in answer.engine_options


@pytest.mark.parametrize(
    ("prompt", "ubatch", "load"), [(1024, 512, "prefill"), (64, 64, "prefill"), (512, 256, "microbatch")]
)
def test_only_a_prompt_cut_finer_than_by_default_is_a_microbatch(
    prompt: int, ubatch: int, load: str, tmp_path: Path
) -> None:
    rows = json.loads((FORMATS / "llama_bench.json").read_text(encoding="utf-8"))
    (tmp_path / "one.json").write_text(json.dumps([rows[0] | {"n_prompt": prompt, "n_ubatch": ubatch}]))
    assert [point.load for point in read(tmp_path / "one.json").points] == [load]


def only(row: dict[str, object], tmp_path: Path) -> Point:
    """The point of llama-bench's first row with some of its fields replaced."""
    first = json.loads((FORMATS / "llama_bench.json").read_text(encoding="utf-8"))[0]
    (tmp_path / "one.json").write_text(json.dumps([first | row]))
    (point,) = read(tmp_path / "one.json").points
    return point


@pytest.mark.parametrize(
    ("devices", "gpu", "count"),
    [
        ("auto", "rtx-3090 + rtx-4090", 2),
        ("CUDA1", "rtx-4090", 1),
        ("CUDA0/CUDA1", "rtx-3090 + rtx-4090", 2),
        ("none", "cpu", 1),
    ],
)
def test_the_cards_are_those_that_the_run_was_told_to_use(devices: str, gpu: str, count: int, tmp_path: Path) -> None:
    point = only({"gpu_info": "rtx-3090, rtx-4090", "devices": devices}, tmp_path)
    assert (point.gpu, point.gpu_count) == (gpu, count)


def test_a_table_tells_the_cards_of_each_row(tmp_path: Path) -> None:
    rows = [f"| tiny 1B Q8_0 | ROCm | {devices} | tg128 | 50.0 ± 0.1 |" for devices in ("ROCm0", "ROCm0/ROCm1")]
    (tmp_path / "dies.md").write_text(
        "\n".join(["| model | backend | dev | test | t/s |", "|--|--|--|--:|--:|", *rows])
    )
    assert [point.gpu_count for point in read(tmp_path / "dies.md").points] == [1, 2]


def test_a_bench_that_wrote_its_header_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "cut.csv").write_text((FORMATS / "llama_bench.csv").read_text(encoding="utf-8").split("\n")[0] + "\n")
    assert read(tmp_path / "cut.csv").warnings[-1] == "nothing that was measured stands in it"


def test_a_table_of_another_tool_with_the_same_columns_is_refused_row_by_row(tmp_path: Path) -> None:
    header = "| model | test | t/s | peak t/s | ttfr (ms) |\n|:--|--:|--:|--:|--:|\n"
    rows = "| Tiny-1B | pp2048 | 2265.07 ± 142.42 | | 979.34 ± 59.72 |\n| Tiny-1B | tg480 | 75.79 ± 0.56 | 98.33 | |\n"
    (tmp_path / "served.md").write_text(header + rows)
    found = read(tmp_path / "served.md")
    assert [(one.line, one.field) for one in found.rejected] == [(3, "ttfr (ms)"), (4, "ttfr (ms)")]
    assert not found.points


@pytest.mark.parametrize(
    ("file", "kind", "size", "model", "weights"),
    [
        ("m/Qwen3-8B-UD-Q4_K_XL.gguf", "qwen3 8B Q4_K - Medium", 5_100_000_000, "qwen3-8b", "q4_k_m"),
        ("m/Qwen3-8B-Q8_0-00001-of-00002.gguf", "qwen3 8B Q8_0", 8_700_000_000, "qwen3-8b", "q8_0"),
        ("m/gpt-oss-20b-F16.gguf", "gpt-oss 20B F16", 13_779_630_336, "gpt-oss-20b", "mxfp4"),
        ("m/Qwen3-8B-F16.gguf", "qwen3 8B F16", 16_400_000_000, "qwen3-8b", "fp16"),
    ],
)
def test_the_format_is_one_that_the_catalogue_has_and_the_files_size_does_not_belie(
    file: str, kind: str, size: int, model: str, weights: str, tmp_path: Path
) -> None:
    parameters = 20_914_757_184 if "20B" in kind else 8_190_735_360
    row = {"model_filename": file, "model_type": kind, "model_size": size, "model_n_params": parameters}
    point = only(row, tmp_path)
    assert (point.model, point.weights) == (model, weights)


@pytest.mark.parametrize(("on_card", "split"), [(0, True), (27, True), (28, False), (99, False), (-1, False)])
def test_layers_left_to_the_processor_are_told(on_card: int, split: bool, tmp_path: Path) -> None:
    rows = json.loads((FORMATS / "llama_bench.json").read_text(encoding="utf-8"))
    known = {"model_filename": "qwen2.5-7b-q4_k_m.gguf", "n_gpu_layers": on_card}  # of 28 layers
    (tmp_path / "one.json").write_text(json.dumps([rows[1] | known]))
    found = read(tmp_path / "one.json")
    assert ("layers on the CPU" in found.points[0].notes) == split
    assert any("-ngl" in warning for warning in found.warnings) == split


@pytest.mark.parametrize(("on_card", "split"), [(40, True), (80, False), (99, False)])
def test_layers_left_to_the_processor_are_told_of_a_model_that_is_given(
    on_card: int, split: bool, tmp_path: Path
) -> None:
    rows = json.loads((FORMATS / "llama_bench.json").read_text(encoding="utf-8"))
    unnamed = {"model_filename": "", "model_type": "llama 70B Q4_K - Medium", "n_gpu_layers": on_card}  # of 80 layers
    (tmp_path / "one.json").write_text(json.dumps([rows[1] | unnamed]))
    found = read(tmp_path / "one.json", {"model": "llama-3.1-70b"})
    assert ("layers on the CPU" in found.points[0].notes) == split
    assert any("-ngl" in warning for warning in found.warnings) == split


def test_throughput_of_prompt_and_answer_together_is_not_the_answers() -> None:
    both = read(FORMATS / "llama_bench.json").points[3]
    assert both.output_tps == pytest.approx(128 / 0.8)


def test_a_run_without_a_card_is_the_processors() -> None:
    found = read(FORMATS / "llama_bench_old.md", {"gpu": "h100"})
    assert {point.gpu for point in found.points} == {"cpu"}
    assert (found.rejected[0].line, found.rejected[0].reason) == (5, "'error' is not a number")


def test_what_the_loader_prints_above_a_batched_bench_tells_its_model_and_build(tmp_path: Path) -> None:
    table = (FORMATS / "llama_batched_bench.md").read_text(encoding="utf-8").split("main: ")[1].split("build:")[0]
    loader = "llama_model_loader: loaded meta data with 29 key-value pairs and 292 tensors from"
    above = f"build: 9001 (0a1b2c3d) with GNU\n{loader} m/Tiny-1B-Q8_0.gguf (version GGUF V3 (latest))\n"
    (tmp_path / "printed").write_text(f"{above}\nmain: {table}")
    found = {(point.model, point.weights, point.engine_version) for point in read(tmp_path / "printed").points}
    assert found == {("Tiny-1B", "q8_0", "b9001")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("models/Qwen2.5-7B-Instruct-Q4_K_M.gguf", ("Qwen2.5-7B-Instruct", "q4_k_m")),
        ("C:\\models\\Phi-3-mini-IQ4_XS.gguf", ("Phi-3-mini", "iq4_xs")),
        ("llama-7b.f16.gguf", ("llama-7b", "fp16")),
        ("models/Qwen3-8B-Q8_0-00001-of-00002.gguf", ("Qwen3-8B", "q8_0")),
        ("ggml-org/gpt-oss-20b-GGUF", ("gpt-oss-20b", "")),
        ("qwen2 7B Q4_K - Medium", ("qwen2 7B", "q4_k_m")),
        ("llama 7B mostly Q4_0", ("llama 7B", "q4_0")),
        ("gpt-oss 20B MXFP4 MoE", ("gpt-oss 20B", "mxfp4")),
        ("llama 8B all F32", ("llama 8B", "f32")),
        ("llama 8B BF16", ("llama 8B", "bf16")),
        ("llama 8B IQ4_XS - 4.25 bpw", ("llama 8B", "iq4_xs")),
        ("llama 8B Q2_K - Medium", ("llama 8B", "q2_k")),
    ],
)
def test_model_and_weight_format_are_told_apart(name: str, expected: tuple[str, str]) -> None:
    assert model_and_weights(name) == expected


@pytest.mark.parametrize("name", ["llama_batched_bench.md", "llama_batched_bench.jsonl"])
def test_a_batch_counts_its_prompts_in_the_throughput(name: str) -> None:
    one, four, sixteen = read(FORMATS / name).points[::3]
    assert [point.load_value for point in (one, four, sixteen)] == [1, 4, 16]
    assert (four.load, four.slots, four.prompt_tokens, four.output_tokens) == ("offline", 4, 128, 32)
    assert four.output_tps == pytest.approx(4 * 32 / 0.25)
    assert (four.ttft_ms_mean, four.tpot_ms_mean, four.e2e_ms_mean) == pytest.approx((50, 6.25, 250))
    assert sixteen.kv_tokens == 8192


def test_prompts_and_a_step_of_a_batch_are_points_of_their_own() -> None:
    _, prompts, step = read(FORMATS / "llama_batched_bench.md").points[3:6]
    assert (prompts.load, prompts.load_value, prompts.prompt_tokens) == ("prefill", 4 * 128, 128)
    assert (prompts.ttft_ms_mean, prompts.tpot_ms_mean, prompts.output_tps) == (50, None, None)
    assert (step.load, step.load_value, step.depth_tokens) == ("decode_step", 4, 128 + 16)
    assert (step.ttft_ms_mean, step.tpot_ms_mean, step.output_tps) == pytest.approx((None, 6.25, 640))


def test_a_shared_prompt_is_refused_where_it_stands() -> None:
    (refusal,) = read(FORMATS / "llama_batched_bench.md").rejected
    assert (refusal.line, refusal.field) == (12, "n_kv")


def test_sequences_decoded_one_after_another_are_refused(tmp_path: Path) -> None:
    text = (FORMATS / "llama_batched_bench.md").read_text(encoding="utf-8")
    (tmp_path / "apart.md").write_text(text.replace("is_pp_shared = 0", "is_pp_shared = 0, is_tg_separate = 1"))
    found = read(tmp_path / "apart.md")
    assert not found.points
    assert {refusal.field for refusal in found.rejected} == {"is_tg_separate"}


def test_the_heading_above_a_table_names_its_model() -> None:
    assert {point.model for point in read(FORMATS / "llama_batched_bench.md").points} == {"Tiny-1B"}


def test_every_card_that_was_found_counts(tmp_path: Path) -> None:
    table = (FORMATS / "llama_bench.md").read_text(encoding="utf-8")
    two = table.replace("| model", "  Device 1: NVIDIA GeForce RTX 4080, compute capability 8.9\n| model")
    (tmp_path / "two.md").write_text(two + two, encoding="utf-8")
    points = read(tmp_path / "two.md").points
    assert {(point.gpu, point.gpu_count) for point in points} == {("rtx-4080", 2)}
    assert len(points) == 10


def test_each_run_of_a_page_has_the_card_and_the_build_printed_with_it(tmp_path: Path) -> None:
    table = (FORMATS / "llama_bench.md").read_text(encoding="utf-8")
    other = table.replace("found 2 CUDA", "found 1 CUDA").replace("RTX 4080", "RTX 4090").replace("(5163)", "(6000)")
    two = table.replace("| model", "  Device 1: NVIDIA GeForce RTX 4080, compute capability 8.9\n| model")
    (tmp_path / "both.md").write_text(two + other, encoding="utf-8")
    runs = {(point.gpu, point.gpu_count, point.engine_version) for point in read(tmp_path / "both.md").points}
    assert runs == {("rtx-4080", 2, "b5163"), ("rtx-4090", 1, "b6000")}


def test_a_page_tells_each_table_what_the_other_knows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    batch, bench = (
        (FORMATS / name).read_text(encoding="utf-8") for name in ("llama_batched_bench.md", "llama_bench.md")
    )
    text = batch.replace("acme/Tiny-1B-GGUF", "org/Qwen2.5-7B-Instruct-GGUF") + bench.replace("tiny 1B", "qwen2 7B")
    page.write_text(text, encoding="utf-8")
    assert {(point.model, point.weights) for point in read(page).points} == {("qwen2.5-7b", "q4_k_m")}
    page.write_text(text.replace("qwen2 7B", "qwen2 14B"), encoding="utf-8")
    assert "qwen2 14B" in {point.model for point in read(page).points}


def test_a_page_with_two_tools_tables_is_read_by_both(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    names = ("llama_batched_bench.md", "llama_bench.md")
    page.write_text("\n".join((FORMATS / name).read_text(encoding="utf-8") for name in names), encoding="utf-8")
    found = read(page)
    assert found.format == "llama-batched-bench + llama-bench"
    assert [point.load for point in found.points].count("offline") == 3
    assert (len(found.points), len(found.rejected)) == (14, 1)


# -- recordings


def test_a_recording_is_a_point_a_level() -> None:
    single, closed = read(FORMATS / "recording.jsonl").points
    assert (single.load, single.output_tokens, single.prompt_tokens) == ("single", 11, 150)
    assert (single.ttft_ms_mean, single.ttft_ms_p50) == pytest.approx((150, 150))
    assert (single.tpot_ms_mean, single.itl_ms_mean, single.itl_ms_p99) == pytest.approx((20, 20, 20))
    assert single.output_tps == pytest.approx(22 / 0.704)
    assert single.e2e_ms_mean == pytest.approx((302 + 402) / 2)
    assert (closed.load, closed.load_value, closed.success_rate) == ("closed", 2, 0.75)
    assert closed.output_tps == pytest.approx(33 / 0.904)


def test_a_level_of_one_request_a_user_is_a_burst(tmp_path: Path) -> None:
    lines = (FORMATS / "recording.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "r.jsonl").write_text("\n".join(lines[2:4]))
    (point,) = read(tmp_path / "r.jsonl").points
    assert (point.load, point.load_value) == ("burst", 2)


def test_the_clock_of_a_level_starts_with_its_first_request(tmp_path: Path) -> None:
    lines = (FORMATS / "recording.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "r.jsonl").write_text(lines[1])
    (point,) = read(tmp_path / "r.jsonl").points
    assert point.output_tps == pytest.approx(11 / 0.402)


def test_the_file_beside_a_recording_says_what_served_it() -> None:
    point = read(FORMATS / "recording.jsonl").points[0]
    assert (point.engine, point.engine_version, point.gpu, point.model) == ("vllm", "0.32.0", "l4", "tiny-1b")
    assert (point.slots, point.context, point.kv_tokens) == (64, 2048, 65 * 32)
    assert point.engine_options.endswith("max-num-seqs=64;num-gpu-blocks-override=65;block-size=32;enforce-eager")


def test_a_recording_alone_tells_its_engine_by_its_answers(tmp_path: Path) -> None:
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes((FORMATS / "recording.jsonl").read_bytes())
    assert {point.engine for point in read(alone).points} == {"vllm"}
    assert read(RECORDED / "llamacpp-cpu" / "ubatch_np4_kvu.jsonl").points[0].engine == "llama.cpp"


def test_a_broken_file_beside_a_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes((FORMATS / "recording.jsonl").read_bytes())
    (tmp_path / "r.meta.json").write_text('{"args":\n')
    with pytest.raises(BadScenario, match=r"r\.meta\.json:2: not valid JSON"):
        read(tmp_path / "r.jsonl")


def test_failed_requests_are_refused_one_by_one() -> None:
    found = read(RECORDED / "llamacpp-cpu" / "np8_kvu2048.jsonl.gz")
    assert found.facts["requests"] == 25
    assert len(found.rejected) == 52 - 25
    assert {refusal.field for refusal in found.rejected} == {"error"}
    assert {point.load_value: point.slots for point in found.points} == {4: 8, 5: 8, 6: 8}


def test_a_recording_whose_times_run_backwards_is_refused(tmp_path: Path) -> None:
    lines = (FORMATS / "recording.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "r.jsonl").write_text(lines[0].replace('"t_send": 0.0', '"t_send": 9.0'))
    (refusal,) = read(tmp_path / "r.jsonl").rejected
    assert (refusal.line, refusal.field) == (1, "t_tokens")
