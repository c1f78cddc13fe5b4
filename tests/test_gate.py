"""The physics gate refuses what no card can do, with the arithmetic, and nothing that some engine can."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from calibration.gates.gate import first_impossible
from calibration.gates.impossible import Impossible
from calibration.gates.limits import Limits
from calibration.gates.sieve import Unjudged, verdict
from calibration.points import Point
from sim.cli.measured.physics_gate import refusal
from sim.hardware import Gpu, Model

CARD = Gpu("card", "Card", "nvidia", "hbm", 80 * 10**9, bandwidth_gbs=2000.0, fp16_tflops=300.0)
DENSE = Model("dense", "Dense", "llama", 8 * 10**9, 8 * 10**9, 32, 4096, 32, 8, 128, vocab=100_000, max_context=8192)
SPARSE = replace(DENSE, id="sparse", active_parameters=10**9, experts=64, experts_per_token=4)
FP16 = 16.0


def limits(model: Model = DENSE, **changes: object) -> Limits:
    return replace(Limits(CARD, model, 1, "fp16", FP16), **changes)  # type: ignore[arg-type]


def point(load: str = "single", load_value: float = 1, **fields: object) -> Point:
    return Point("s", "vllm", load, load_value, gpu="card", model="dense", weights="fp16", **fields)  # type: ignore[arg-type]


def refused(one: Point, model: Model = DENSE, gpu: Gpu = CARD, bits: float = FP16) -> str:
    found = first_impossible(one, Limits(gpu, model, one.gpu_count, one.weights, bits))
    return found.why if found else ""


def test_the_tables_claim_is_refused_with_its_arithmetic() -> None:
    claim = Point("article", "ollama", "single", 1, gpu="a100-40g-sxm", model="llama-3.1-8b", output_tps=420.0)
    gpu, model = catalog.gpu(claim.gpu), catalog.model(claim.model)
    claim = replace(claim, weights="q4_k_m")
    assert refused(claim, model, gpu, catalog.weight_bits(model, "q4_k_m")) == (
        "420 tok/s for llama-3.1-8b on an a100-40g-sxm at 1 user needs 1.93 TB/s at 4.9 bits; the card has 1.56"
    )


rooflines = st.tuples(st.integers(1, 64), st.integers(0, 4000), st.integers(2, 2000))


@given(rooflines)
def test_a_step_at_the_roofline_passes_and_a_tenth_beyond_is_refused(shape: tuple[int, int, int]) -> None:
    rows, context, _ = shape
    here = limits()
    ms = 1e3 * (here.pass_bytes + rows * here.kv_bytes(context)) / here.bandwidth
    step = point("decode_step", rows, depth_tokens=context, tpot_ms_mean=ms, output_tps=rows / ms * 1e3)
    assert not refused(step)
    assert "TB/s" in refused(replace(step, tpot_ms_mean=ms / 1.1))
    assert "TB/s" in refused(replace(step, output_tps=1.1 * rows / ms * 1e3))


@given(rooflines)
def test_a_stream_at_the_roofline_passes_and_a_tenth_beyond_is_refused(shape: tuple[int, int, int]) -> None:
    _, prompt, output = shape
    here = limits()
    step_s = (here.pass_bytes + here.kv_bytes(prompt + output / 2)) / here.bandwidth
    rate = output / (output - 1) / step_s
    stream = point(prompt_tokens=prompt, output_tokens=output, output_tps=rate, tpot_ms_mean=1e3 * step_s)
    assert not refused(stream)
    assert "at 1 user needs" in refused(replace(stream, output_tps=1.1 * rate))


@given(st.integers(512, 4096), st.integers(1, 4))
def test_a_prefill_at_the_roofline_passes_and_a_tenth_beyond_is_refused(tokens: int, cards: int) -> None:
    ms = 1e3 * limits().prompt_flops(tokens) / (300e12 * cards)
    prompt = point("prefill", tokens, prompt_tokens=tokens, ttft_ms_mean=ms, gpu_count=cards)
    assert not refused(prompt)
    assert "TFLOPS" in refused(replace(prompt, ttft_ms_mean=ms / 1.1))


FIGURES = ("output_tps", "ttft_ms_mean", "ttft_ms_p50", "tpot_ms_mean", "itl_ms_mean", "e2e_ms_mean")


@given(
    st.sampled_from(["single", "closed", "burst", "offline", "decode_step", "prefill", "microbatch", "poisson"]),
    st.sampled_from(FIGURES),
    st.floats(0.01, 1e5),
    st.floats(1.0, 100.0),
)
def test_a_slower_figure_is_never_refused_where_a_faster_one_passes(
    load: str, figure: str, value: float, factor: float
) -> None:
    slower = value / factor if figure == "output_tps" else value * factor
    shape = {"prompt_tokens": 300, "output_tokens": 100}
    one = 1 if load == "single" else 16
    if not refused(point(load, one, **shape, **{figure: value})):
        assert not refused(point(load, one, **shape, **{figure: slower}))


@given(st.sampled_from(FIGURES), st.floats(0.01, 1e5), st.integers(1, 7))
def test_what_some_cards_can_do_more_cards_can(figure: str, value: float, cards: int) -> None:
    few = point("closed", 8, output_tokens=100, gpu_count=cards, **{figure: value})
    if not refused(few):
        assert not refused(replace(few, gpu_count=cards + 1))


def test_a_batch_shares_one_reading_of_the_weights() -> None:
    assert refused(point(output_tps=1000.0))
    assert not refused(point("closed", 16, output_tps=1000.0))
    assert refused(point("closed", 16, slots=4, output_tps=1000.0))


def test_of_a_mixture_only_what_a_token_uses_is_read() -> None:
    assert refused(point(output_tps=600.0))
    assert not refused(point(output_tps=600.0), SPARSE)


def test_the_table_of_embeddings_is_not_read_to_decode() -> None:
    whole_model = 2e12 / 16e9
    assert not refused(point(output_tps=1.04 * whole_model))
    assert refused(point(output_tps=1.04 * whole_model), replace(DENSE, tied_embeddings=True))


@pytest.mark.parametrize("options", ["speculative-config=ngram", "--spec-draft-n-max 5", "eagle3", "method=mtp"])
def test_guessed_tokens_come_without_a_reading_each(options: str) -> None:
    fast = point(output_tps=400.0, tpot_ms_mean=2.5)
    assert refused(fast)
    assert not refused(replace(fast, engine_options=options))


def test_a_prompt_that_was_seen_before_costs_no_arithmetic_but_one_pass() -> None:
    seen = point("burst", 20, prompt_tokens=8000, ttft_ms_mean=20.0)
    assert not refused(seen)
    assert "TFLOPS" in refused(replace(seen, engine_options="max-num-seqs=64;no-enable-prefix-caching"))
    assert "a first token after" in refused(replace(seen, ttft_ms_mean=5.0))


def test_the_last_prompt_of_an_offline_batch_waits_for_all() -> None:
    alone_ms = 1e3 * limits().prompt_flops(1000) / 300e12
    batch = replace(point("offline", 9, prompt_tokens=1000, ttft_ms_mean=4 * alone_ms), engine="tensorrt-llm")
    assert "5 prompts of 1000 tokens" in refused(batch)
    assert not refused(replace(batch, ttft_ms_mean=5 * alone_ms))


def test_weights_must_fit_where_the_engine_spills_nothing() -> None:
    large = replace(DENSE, parameters=60 * 10**9)
    slow = point(output_tps=1.0)
    assert "takes 120.0 GB at 16.0 bits; the card has 80.0" in refused(slow, large)
    assert not refused(replace(slow, gpu_count=2), large)
    assert not refused(slow, large, bits=8.5)
    assert not refused(replace(slow, engine="llama.cpp"), large)
    assert not refused(replace(slow, engine_options="cpu-offload-gb=50"), large)


def test_a_context_beyond_the_models_is_refused_where_it_is_kept() -> None:
    long = point("offline", 1, prompt_tokens=8000, output_tokens=200, output_tps=1.0)
    assert "8000 + 200 tokens for dense, whose context is 8,192" in refused(long)
    assert not refused(replace(long, output_tokens=192))
    assert not refused(replace(long, engine="ollama"))
    assert not refused(replace(long, engine_options="rope-scaling=yarn"))
    assert not refused(replace(long, context=16_384))
    assert refused(replace(long, context=8192))


def test_a_card_may_use_the_rate_of_its_weights_format() -> None:
    fast = replace(CARD, fp8_tflops=600.0)
    rate = point("closed", 4000, output_tps=25_000.0)
    assert "TFLOPS" in refused(rate, gpu=fast)
    assert not refused(replace(rate, weights="fp8"), gpu=fast, bits=8.0)


def test_what_ran_on_the_host_is_not_the_cards() -> None:
    assert not refused(point(output_tps=1000.0, engine_options="n-gpu-layers=0"))
    assert refused(point(output_tps=1000.0, engine_options="n-gpu-layers=08"))


def test_points_without_a_card_or_a_model_are_told_apart() -> None:
    known = Point("s", "vllm", "single", 1, gpu="l4", model="llama-3.1-8b", weights="fp16", output_tps=15.0)
    beyond = replace(known, output_tps=80.0)
    unstated, unheard_of = replace(known, gpu="unstated"), replace(known, model="a-model-nobody-made")
    assert verdict(known) is None
    refusal = verdict(beyond)
    assert isinstance(refusal, Impossible)
    assert refusal.field == "output_tps"
    assert verdict(unstated) == Unjudged("gpu is not stated")
    unjudged = verdict(unheard_of)
    assert isinstance(unjudged, Unjudged)
    assert unjudged.why.startswith("unknown model 'a-model-nobody-made'")


def test_weights_that_nobody_described_may_be_narrow() -> None:
    blank = Point("s", "vllm", "single", 1, gpu="l4", model="llama-3.1-8b", output_tps=60.0)
    assert verdict(blank) is None
    assert verdict(replace(blank, weights="bf16")) is not None
    assert verdict(replace(blank, output_tps=90.0)) is not None
    assert verdict(replace(blank, engine="ollama", output_tps=90.0)) is not None


def test_a_narrow_cache_is_read_faster() -> None:
    step = Point("s", "vllm", "decode_step", 64, gpu="l4", model="llama-3.1-8b", weights="fp8", depth_tokens=8000)
    step = replace(step, tpot_ms_mean=200.0)
    assert "TB/s" in getattr(verdict(step), "why", "")
    assert verdict(replace(step, engine_options="kv-cache-dtype=fp8_e4m3")) is None
    assert not isinstance(verdict(replace(step, engine_options="kv-cache-dtype=unheard-of")), Unjudged)


def test_a_row_is_judged_before_its_prediction_as_at_its_import() -> None:
    """With its engine's files and the type of its cache; blank weights as those that it is predicted with."""
    step = Point("s", "vllm", "decode_step", 64, gpu="l4", model="llama-3.1-8b", weights="fp8", depth_tokens=8000)
    step = replace(step, tpot_ms_mean=200.0)
    assert refusal(step, "fp8") == getattr(verdict(step), "why", None) is not None
    assert refusal(replace(step, engine_options="kv-cache-dtype=fp8_e4m3"), "fp8") is None
    mixture = Point("s", "llama.cpp", "single", 1, gpu="l4", model="gpt-oss-20b", weights="mxfp4")
    for rate in (60.0, 90.0, 95.0, 100.0, 110.0, 125.0, 150.0, 400.0):
        told = verdict(replace(mixture, output_tps=rate))
        assert refusal(replace(mixture, output_tps=rate), "mxfp4") == (
            told.why if isinstance(told, Impossible) else None
        )
    blank = Point("s", "vllm", "single", 1, gpu="l4", model="llama-3.1-8b", output_tps=60.0)
    assert verdict(blank) is None
    assert "16.0 bits" in (refusal(blank, "bf16") or "")
