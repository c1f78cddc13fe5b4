"""The settings that a deployment shows are those it runs under: asked for again, they give the same start."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from policies.engines import llama_cpp, ollama, vllm
from policies.engines.gguf_cells import Cells, upstream, whole
from policies.engines.gguf_memory import scratch_bytes
from policies.engines.ollama_options import KV_BYTES, UPSTREAM_KV_BYTES
from sim.engine import Deployment
from sim.errors import DoesNotFit, SimctlError
from sim.hardware import GIB, Host

HOST = Host("host", "Host", 128 * GIB, 60.0, 1.0)
CARD = catalog.gpu("rtx-4090")
MODEL = catalog.model("llama-3.1-8b")
GGUF = {"weights": "q4_k_m", "weight_bits": 4.8944}


def start(engine: Any, options: Mapping[str, Any], gib: float = 24, model: str = "llama-3.1-8b") -> Deployment:
    card = replace(CARD, memory_bytes=round(gib * GIB))
    usual: Mapping[str, Any] = {} if engine is vllm else GGUF
    deployment: Deployment = engine.deploy((card,), HOST, catalog.model(model), {**usual, **options})
    return deployment


def is_the_same(one: Deployment, other: Deployment) -> bool:
    names = ("options", "memory", "traits", "scheduler", "door")
    return all(getattr(one, name) == getattr(other, name) for name in names) and repr(one.cache) == repr(other.cache)


# -- settings asked for again


@pytest.mark.parametrize("version", ["0.5.7", "0.6.6", "0.11.0", "0.12", "0.24", "0.30", "0.32"])
@pytest.mark.parametrize("gib", [6, 12, 24])
def test_what_ollama_shows_is_what_it_runs_under(version: str, gib: float) -> None:
    for asked in ({}, {"num_parallel": 3, "num_ctx": 3000}, {"flash_attention": True, "kv_cache_type": "q8_0"}):
        shown = start(ollama, {"version": version, **asked}, gib)
        again = start(ollama, {"version": version, **shown.options}, gib)
        assert is_the_same(shown, again)


@pytest.mark.parametrize("version", ["b4000", "b6000", "b6723", llama_cpp.VERSIONS[-1]])
@pytest.mark.parametrize("gib", [6, 12, 24])
def test_what_llama_cpp_shows_is_what_it_runs_under(version: str, gib: float) -> None:
    for asked in ({}, {"parallel": 3, "ctx_size": 3000}, {"batch_size": 300, "cache_type": "q8_0"}):
        shown = start(llama_cpp, {"version": version, **asked}, gib)
        again = start(llama_cpp, {"version": version, **shown.options}, gib)
        assert is_the_same(shown, again)


@pytest.mark.parametrize("gib", [20, 24, 80])
def test_what_vllm_shows_is_what_it_runs_under(gib: float) -> None:
    for asked in ({"max_model_len": 4096}, {"max_model_len": 2000, "max_num_seqs": 7, "enable_chunked_prefill": True}):
        shown = start(vllm, asked, gib)
        assert is_the_same(shown, start(vllm, shown.options, gib))


def test_an_ollama_older_than_an_option_does_not_show_it() -> None:
    shown = [set(start(ollama, {"version": version}).options) for version in ("0.1.34", "0.12", "0.32")]
    assert [options & {"new_engine", "context_shift", "truncate"} for options in shown] == [
        set(),
        {"new_engine", "context_shift", "truncate"},
        {"context_shift", "truncate"},
    ]


# -- layers


def test_layers_asked_for_are_on_the_card_or_the_start_fails_and_says_how_many_fit() -> None:
    started: list[int] = []
    for layers in range(MODEL.layers + 3):
        try:
            memory = start(llama_cpp, {"ctx_size": 4096, "n_gpu_layers": layers}, gib=4).memory
        except DoesNotFit as error:
            assert f"{len(started) - 1} layers fit" in str(error)  # noqa: PT017 (which fail is the question)
            continue
        assert memory.layers_on_host == MODEL.layers + 1 - layers
        started.append(layers)
    assert started == list(range(len(started)))
    assert 0 < len(started) < MODEL.layers
    by_itself = start(llama_cpp, {"ctx_size": 4096}, gib=4).memory  # which keeps a margin free
    assert MODEL.layers + 1 - by_itself.layers_on_host < len(started)


@pytest.mark.parametrize(("engine", "option"), [(llama_cpp, "n_gpu_layers"), (ollama, "num_gpu")])
def test_layers_that_one_of_two_cards_holds_are_on_one_whether_asked_for_or_not(engine: Any, option: str) -> None:
    usual, asked = (
        engine.deploy(
            (CARD, CARD), HOST, MODEL, {**GGUF, "ctx_size" if engine is llama_cpp else "num_ctx": 4096, **more}
        )
        for more in ({}, {option: MODEL.layers + 1})
    )
    assert asked.memory == usual.memory


def test_every_layer_too_many_misses_its_own_bytes() -> None:
    def missing(layers: int) -> int:
        with pytest.raises(DoesNotFit) as refused:
            start(llama_cpp, {"ctx_size": 4096, "n_gpu_layers": layers}, gib=4)
        return refused.value.missing_bytes

    memory = start(llama_cpp, {"ctx_size": 4096}, gib=24).memory
    whole = memory.weight_bytes + memory.kv_bytes + memory.scratch_bytes
    on_the_card = start(llama_cpp, {"ctx_size": 4096, "n_gpu_layers": 1}, gib=24).memory
    layer = on_the_card.weight_bytes + on_the_card.kv_bytes
    room = 4 * GIB - 457 * 2**20  # no margin where layers are asked for
    assert missing(MODEL.layers + 1) == whole - room
    assert missing(99) == missing(MODEL.layers + 1)
    assert missing(MODEL.layers) - missing(MODEL.layers - 1) == layer
    output = missing(MODEL.layers + 1) - missing(MODEL.layers)
    assert output == on_the_card.host_weight_bytes - (MODEL.layers - 1) * (layer - on_the_card.kv_bytes)


def test_weights_are_what_the_engines_users_run_unless_said() -> None:
    for engine in (llama_cpp, ollama):
        usual = engine.deploy(
            (CARD,), HOST, MODEL, {"weight_bits": 4.9, "num_parallel" if engine is ollama else "np": 1}
        )
        assert usual.traits.weights == engine.DEFAULT_WEIGHTS
        named = engine.deploy((CARD,), HOST, MODEL, {"weights": "Q8_0", "weight_bits": 8.5})
        assert (named.traits.weights, named.traits.weight_bits) == ("q8_0", 8.5)


@pytest.mark.parametrize("gib", [4, 24])
def test_a_cold_start_reads_every_byte_of_the_weights_wherever_they_go(gib: float) -> None:
    cold = start(ollama, {"cold": True, "num_ctx": 4096, "num_parallel": 1}, gib)
    read = cold.memory.weight_bytes + cold.memory.host_weight_bytes
    assert (cold.memory.host_weight_bytes > 0) is (gib == 4)
    assert cold.door.load_s == pytest.approx(read / min(CARD.pcie_gbs * 1e9, ollama.DISK_BYTES_S))
    assert start(ollama, {}, gib).door.load_s == 0


# -- bytes


@pytest.mark.parametrize(("shared", "streams"), [(False, 3), (True, 1)])
def test_layers_that_keep_a_state_take_as_much_for_every_slot_however_long_it_is(shared: bool, streams: int) -> None:
    model = replace(MODEL, family="qwen35moe", window=100, window_layers=24)
    for lane in (64, 1024, 8192):
        assert upstream(model, 3, lane, 512, shared=shared) == Cells(lane * streams, min(lane * streams, 300))
    assert upstream(replace(model, family="llama"), 3, 1024, 512, shared=shared) == whole(1024 * streams)


def test_a_cache_type_takes_its_bits_and_the_scales_of_every_32_values() -> None:
    values = {"q8_0": 32, "q5_1": 20, "q5_0": 20, "q4_1": 16, "q4_0": 16, "iq4_nl": 16}
    scales = {"q5_1": 4, "q4_1": 4}
    known = KV_BYTES | UPSTREAM_KV_BYTES
    for name, taken in values.items():
        assert known[name] == (taken + scales.get(name, 2)) / 32
    assert {name: known[name] for name in known.keys() - values} == {"f16": 2, "bf16": 2, "f32": 4}
    for name, taken_bytes in known.items():
        try:
            assert catalog.kv_bytes_per_element(name) == taken_bytes
        except SimctlError:
            continue  # not every type is one of the catalogue's


@given(st.integers(1, 4096), st.integers(1, 10**6))
def test_the_buffer_holds_a_state_a_row_and_the_larger_of_logits_and_scores(rows: int, span: int) -> None:
    state, logits, scores = 4 * rows * MODEL.hidden, 4 * rows * MODEL.vocab, 4 * rows * span * MODEL.heads
    assert scratch_bytes(MODEL, rows, span, flash_attention=True) == state + logits
    assert scratch_bytes(MODEL, rows, span, flash_attention=False) == state + max(logits, scores)
