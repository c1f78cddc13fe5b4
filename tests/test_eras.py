"""What ran kernels that are gone says nothing of those of today; words for a release tell which."""

from dataclasses import replace

import pytest

from calibration import catalog
from calibration.eras import ANY, ASYNC, BARE, EARLY, SYNC, V0, era
from calibration.fitting.observations import Observation, by_kernels, observe
from calibration.points import Point
from calibration.scopes import ATTENTION, COEFFICIENTS, EFFICIENCIES, HOST, LATENCIES, family_of, paths
from sim.engine import Traits

BATCH = Point(
    "own",
    "vllm",
    "offline",
    32,
    "2024",
    gpu="mi300x",
    model="llama-3-8b",
    weights="fp16",
    prompt_tokens=512,
    output_tokens=512,
    e2e_ms_mean=20_000.0,
)
SLICE = Point(
    "own",
    "llama.cpp",
    "microbatch",
    16,
    "b9000",
    gpu="rtx-3090",
    model="llama-3.1-8b",
    weights="q4_0",
    prompt_tokens=512,
    output_tps=900.0,
)


@pytest.mark.parametrize(
    ("kernels", "words", "expected"),
    [
        ("llama.cpp", "b4567", EARLY),
        ("llama.cpp", "b11434", ANY),
        ("llama.cpp", "PR 7676", EARLY),
        ("llama.cpp", "PR 17505", ANY),
        ("llama.cpp", "May 2024", EARLY),
        ("llama.cpp", "Jun 2026", ANY),
        ("llama.cpp", "v0.6.8", EARLY),
        ("llama.cpp", "0.32", ANY),
        ("llama.cpp", "9c35706", ANY),
        ("llama.cpp", "", ANY),
        ("vllm", "0.7.3", V0),
        ("vllm", "0.11.0", SYNC),
        ("vllm", "0.25.1", ASYNC),
        ("vllm", "0.24.0 kernels summed", BARE),
    ],
)
def test_words_for_a_release_name_its_time(kernels: str, words: str, expected: str) -> None:
    assert era(kernels, words) == expected


def reasons(point: Point) -> list[str]:
    return [why for _, why in observe([point])[1]]


@pytest.mark.parametrize(("rows", "usable"), [(16, True), (17, False)])
@pytest.mark.parametrize(
    ("card", "model"), [("mi300x", "llama-3-8b"), ("h100-80g-sxm", "mistral-7b-v0.1"), ("t4", "llama-3.2-3b")]
)
def test_steps_of_more_than_512_heads_without_flash_attention_ran_a_kernel_that_is_gone(
    card: str, model: str, rows: int, usable: bool
) -> None:
    point = replace(BATCH, load_value=rows * 32 // catalog.model(model).heads, gpu=card, model=model)
    assert bool(reasons(point)) is not usable
    assert reasons(replace(point, gpu="h100-80g-sxm", model="llama-3-8b")) == []
    assert reasons(replace(point, engine_version="0.14.0")) == []
    assert reasons(replace(point, gpu_count=2)) == []


@pytest.mark.parametrize(
    ("card", "model", "types", "times"),
    [
        ("h100-80g-sxm", "mistral-7b-v0.1", "", 4),  # heads that share one of keys and values
        ("h100-80g-sxm", "llama-3-8b", "", 1),
        ("h100-80g-sxm", "llama-3-8b", "kv_cache_dtype=fp8", 4),
        ("t4", "llama-3.2-3b", "", 3),
        ("t4", "phi-3-mini-4k", "", 1),
        ("mi300x", "llama-3-8b", "", 1),
    ],
)
def test_without_flash_attention_every_query_head_read_its_own_cells(
    card: str, model: str, types: str, times: float
) -> None:
    then, now = (
        one(replace(BATCH, load_value=1, gpu=card, model=model, engine_options=types, engine_version=release)).facts
        for release in ("0.5.3", "0.14.0")
    )
    assert then.cell_s + then.window_cell_s == pytest.approx(times * (now.cell_s + now.window_cell_s))


def one(point: Point) -> Observation:
    (found,), _ = observe([point])
    return found


def test_a_slice_of_a_prompt_attends_to_all_that_is_before_it() -> None:
    shallow, deep = one(SLICE).passes[0][1], one(replace(SLICE, depth_tokens=32768)).passes[0][1]
    assert deep.cells - shallow.cells == pytest.approx(32768)
    assert deep.prefill_cells - shallow.prefill_cells == pytest.approx(16 * 32768)
    assert deep.decodes == shallow.decodes == 16


@pytest.mark.parametrize(("rows", "prompts"), [(16, False), (64, False), (128, True)])
def test_large_slices_are_prompts_and_small_ones_are_steps(rows: int, prompts: bool) -> None:
    assert one(replace(SLICE, load_value=rows)).of_prompts is prompts


def test_engines_are_told_apart_by_kernels_alone() -> None:
    found = observe([SLICE, replace(BATCH, load_value=4), replace(SLICE, engine="ollama", load="single")])[0]
    assert [[each.point.engine for each in alike] for alike in by_kernels(found)] == [["llama.cpp", "ollama"], ["vllm"]]


@pytest.mark.parametrize("release", ["b4567", "b11434"])
def test_only_early_kernels_are_corrected_for_their_age(release: str) -> None:
    family = family_of(
        Traits("llama.cpp", "q4_0", 4.5), catalog.gpu("rtx-4090"), catalog.model("llama-3.1-8b"), release
    )
    corrected = {name for name in COEFFICIENTS if f"llama.cpp/{EARLY}" in paths(name, family)}
    assert corrected == ({*EFFICIENCIES, *ATTENTION, *LATENCIES, *HOST} if release == "b4567" else set())


def test_cards_of_one_architecture_share_kernels_of_llama_cpp() -> None:
    model = catalog.model("llama-3.1-8b")

    def scopes(kernels: str, gpu: str) -> set[str]:
        return set(paths("weights_efficiency", family_of(Traits(kernels, "q4_0", 4.5), catalog.gpu(gpu), model, "")))

    ada, hbm = scopes("llama.cpp", "rtx-4090"), scopes("llama.cpp", "a100-80g-sxm")
    assert "llama.cpp/cores/ada" in ada & scopes("llama.cpp", "l40s")
    assert "llama.cpp/cores/ampere" in hbm & scopes("llama.cpp", "rtx-3090")
    assert not any("cores/" in scope for scope in scopes("vllm", "rtx-4090"))
