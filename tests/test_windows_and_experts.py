"""Sliding windows, latent caches and experts in the engines' memory: what is kept, and that every model starts."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from policies.engines import llama_cpp, ollama, vllm
from policies.engines.gguf_cells import Cells, own_engine, upstream
from policies.engines.vllm_memory import activation_bytes, block_bytes
from sim.engine import Deployment, Engine
from sim.hardware import GIB, MIB, Model

GEMMA, OSS = catalog.model("gemma-3-4b"), catalog.model("gpt-oss-20b")
DEEPSEEK, LLAMA = catalog.model("deepseek-v3"), catalog.model("llama-3.1-8b")
HOST = catalog.host("server-ddr5")
BIG = replace(catalog.gpu("b200-sxm"), memory_bytes=4096 * GIB)
ENGINES: dict[str, Engine] = {"llama_cpp": llama_cpp, "ollama": ollama, "vllm": vllm}


def deploy(engine: str, model: Model, gpu: str = "a100-80g", weights: str = "f16", **options: Any) -> Deployment:
    settings = {"weights": weights, "weight_bits": catalog.weight_bits(model, weights, engine), **options}
    return ENGINES[engine].deploy((catalog.gpu(gpu),), HOST, model, settings)


# -- cells of llama.cpp and Ollama


def test_a_stream_keeps_the_window_and_a_pass_of_new_tokens_rounded_up() -> None:
    assert upstream(GEMMA, 4, 8192, 512, shared=False) == Cells(4 * 8192, 4 * 1536)
    assert upstream(OSS, 3, 4096, 512, shared=False) == Cells(3 * 4096, 3 * 768)


def test_a_shared_pool_keeps_all_windows_and_one_pass() -> None:
    assert upstream(GEMMA, 4, 32768, 512, shared=True) == Cells(32768, 4 * 1024 + 512)


def test_ollamas_own_engine_keeps_one_batch_for_all_windows() -> None:
    assert own_engine(GEMMA, 4, 4096, 512) == Cells(16384, 4864)  # 4 x 1025 + 512, rounded up
    assert own_engine(GEMMA, 1, 4096, 512) == Cells(4096, 1536)


@pytest.mark.parametrize("name", ["mistral-7b-v0.1", "phi-3-mini-4k", "llama-3.1-8b"])
def test_a_window_that_the_engine_does_not_use_saves_nothing(name: str) -> None:
    assert upstream(catalog.model(name), 2, 32768, 512, shared=False) == Cells(65536, 65536)


def test_a_layer_with_a_state_keeps_one_for_each_slot() -> None:
    model = catalog.model("qwen3.5-27b")
    cells = upstream(model, 2, 32768, 512, shared=False)
    assert cells == Cells(65536, 2 * 768)
    assert cells.kv_bytes(model, 2.0) == 2 * model.kv_bytes(32768)


@given(st.integers(1, 40), st.integers(1, 40).map(lambda pages: 256 * pages), st.sampled_from([256, 512, 2048]))
def test_a_window_never_keeps_more_than_the_context(slots: int, lane: int, ubatch: int) -> None:
    for model in (GEMMA, OSS):
        for cells in (
            upstream(model, slots, lane, ubatch, shared=False),
            upstream(model, slots, lane * slots, ubatch, shared=True),
            own_engine(model, slots, lane, ubatch),
        ):
            assert cells.full == lane * slots
            assert min(lane, model.window) <= cells.limited <= cells.full


def test_the_reservation_is_full_layers_and_limited_layers_added_up() -> None:
    memory = deploy("llama_cpp", GEMMA, parallel=4, ctx_size=32768, n_gpu_layers=99).memory
    layer_token = 2 * 4 * 256 * 2
    assert memory.kv_bytes == pytest.approx(layer_token * (5 * 32768 + 29 * 4 * 1536), rel=1e-6)
    assert memory.kv_tokens == 32768


def test_old_builds_with_one_pool_for_all_keep_everything() -> None:
    new, old = (deploy("llama_cpp", GEMMA, version=v, parallel=4, ctx_size=32768).memory for v in ("b5913", "b2496"))
    assert old.kv_bytes == pytest.approx(32768 * GEMMA.kv_bytes_per_token(), rel=1e-6)
    assert new.kv_bytes < old.kv_bytes / 2


def test_a_window_lets_many_more_slots_of_ollama_fit() -> None:
    windowless = replace(GEMMA, window=0, window_layers=0)
    counts = {}
    for model in (GEMMA, windowless):
        fits = (
            count
            for count in range(1, 80)
            if not deploy(
                "ollama", model, "rtx-4060-ti-16g", "q8_0", num_parallel=count, num_ctx=4096
            ).memory.layers_on_host
        )
        counts[model.window] = max(fits)
    # Measured on this card: 40 slots hold, 50 collapse.
    assert 35 <= counts[1024] < 50
    assert counts[0] < 25


def test_what_sees_is_loaded_beside_the_model() -> None:
    blind = replace(GEMMA, vision_parameters=0)
    for engine in ("ollama", "vllm"):
        seeing, without = (deploy(engine, model).memory.scratch_bytes for model in (GEMMA, blind))
        assert seeing - without == 2 * GEMMA.vision_parameters
        assert 800 * MIB < seeing - without < 801 * MIB


# -- blocks of vLLM


def test_a_latent_is_on_every_gpu_and_heads_are_shared() -> None:
    assert block_bytes(DEEPSEEK, 8, 16, 2.0) == block_bytes(DEEPSEEK, 1, 16, 2.0) == 16 * 70272
    assert block_bytes(LLAMA, 4, 16, 2.0) == block_bytes(LLAMA, 1, 16, 2.0) // 4


def test_every_expert_that_a_token_visits_has_a_row_in_the_profile_run() -> None:
    mixtral = catalog.model("mixtral-8x7b")
    alone = replace(mixtral, experts=0, experts_per_token=0, expert_parameters=0)
    more = activation_bytes(mixtral, 1, 4096, 1) - activation_bytes(alone, 1, 4096, 1)
    assert more == 4096 * 2 * (3 * 14336 + 2 * 4096)


# -- every model on every engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", catalog.names("model"))
def test_every_model_starts_with_the_weights_of_all_its_parameters(engine: str, name: str) -> None:
    model = catalog.model(name)
    weights = "bf16" if engine == "vllm" else "q8_0"
    bits = catalog.weight_bits(model, weights, engine)
    options = {"weights": weights, "weight_bits": bits}
    deployment = ENGINES[engine].deploy((BIG,), HOST, model, options)
    # GGUF engines leave the embedding table on the host.
    table = 0 if engine == "vllm" or model.tied_embeddings else model.vocab * model.hidden
    expected = (model.parameters - table) * bits / 8
    assert deployment.memory.weight_bytes == pytest.approx(expected, rel=1e-3)
    assert not deployment.memory.layers_on_host
    assert deployment.core().cache is not None
