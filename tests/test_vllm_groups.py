"""Sliding windows on vLLM: groups of layers, the blocks of a request, and what a start-up takes or refuses."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from policies.caches.groups import Groups
from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.caches.windowed import WindowedCache
from policies.caches.windowed_prefix import WindowedPrefixCache
from policies.engines import vllm
from policies.engines.vllm_groups import layout
from policies.engines.vllm_memory import block_bytes
from sim.engine import Deployment
from sim.errors import DoesNotFit
from sim.hardware import Model
from sim.request import Request

GEMMA, OSS = catalog.model("gemma-3-27b"), catalog.model("gpt-oss-20b")
LLAMA, MISTRAL = catalog.model("llama-3.1-8b"), catalog.model("mistral-7b-v0.1")
QWEN, SCOUT = catalog.model("qwen3.5-27b"), catalog.model("llama-4-scout")
LAYER_TOKEN = 2 * 16 * 128 * 2  # bytes of a token in one layer of Gemma 3 27B
LENGTHS = st.integers(1, 131_072)


def deploy(model: Model, gpu: str = "a100-80g", count: int = 1, **options: Any) -> Deployment:
    weights = model.native_weights or "bf16"
    settings = {"weights": weights, "weight_bits": catalog.weight_bits(model, weights, "vllm"), **options}
    return vllm.deploy((catalog.gpu(gpu),) * count, catalog.host("server-ddr5"), model, settings)


def groups_of(model: Model, version: str = "0.32") -> tuple[int, int, float]:
    shape = layout(model, version, 16, 8192, 2048)
    return shape.groups.full, shape.groups.windowed, shape.layers


# -- groups


@pytest.mark.parametrize(
    ("name", "full", "windowed", "layers"),
    [
        ("gemma-3-27b", 1, 6, 10),  # 10 and 52 layers: the windowed groups have 9, 9, 9, 9, 8 and 8
        ("gemma-3-4b", 1, 6, 5),  # 5 and 29
        ("gemma-3-1b", 1, 6, 4),  # 4 and 22
        ("gemma-2-9b", 1, 1, 21),
        ("gpt-oss-120b", 1, 1, 18),
        ("mistral-7b-v0.1", 0, 1, 32),
        ("phi-3-mini-4k", 0, 1, 32),
        ("llama-3.1-8b", 1, 0, 32),
        ("llama-4-scout", 1, 0, 48),
    ],
)
def test_layers_are_cut_into_groups_of_as_many_as_the_rarer_kind_has(
    name: str, full: int, windowed: int, layers: int
) -> None:
    assert groups_of(catalog.model(name)) == (full, windowed, layers)


@pytest.mark.parametrize(
    ("full", "windowed", "groups"),
    [(21, 7, (3, 1, 7)), (16, 12, (1, 1, 16)), (13, 12, (1, 1, 13)), (16, 11, (1, 1, 16)), (18, 12, (2, 1, 12))],
)
def test_kinds_that_differ_by_less_than_half_are_padded_to_the_commoner_one(
    full: int, windowed: int, groups: tuple[int, int, int]
) -> None:
    assert groups_of(replace(OSS, layers=full + windowed, window_layers=windowed)) == groups


@given(st.integers(1, 80), st.integers(0, 80))
def test_every_layer_has_its_place_in_a_group(windowed: int, full: int) -> None:
    model = replace(OSS, layers=full + windowed, window_layers=windowed)
    in_full, in_windowed, size = groups_of(model)
    assert in_full * size >= full > (in_full - 1) * size
    assert in_windowed * size >= windowed > (in_windowed - 1) * size
    assert size in (full, windowed)


@pytest.mark.parametrize("version", ["0.8", "0.9"])
def test_before_groups_mixed_models_keep_everything_and_models_of_windows_alone_do_not(version: str) -> None:
    assert groups_of(GEMMA, version) == (1, 0, 62)
    assert groups_of(MISTRAL, version) == (0, 1, 32)
    old = deploy(OSS, version=version, max_model_len=8192)
    assert any("keeps every token" in warning for warning in old.warnings)
    assert type(old.cache()) is PrefixCache
    assert not any("keeps every" in warning for warning in deploy(OSS, version="0.9.1").warnings)


# -- bytes and blocks


def test_a_block_holds_the_tokens_of_one_groups_layers() -> None:
    assert block_bytes(GEMMA, 1, 16, 2.0, 10) == 16 * 10 * LAYER_TOKEN
    assert block_bytes(GEMMA, 2, 16, 2.0, 10) == 16 * 10 * LAYER_TOKEN // 2
    assert block_bytes(GEMMA, 1, 16, 1.0, 10) == 16 * 10 * LAYER_TOKEN // 2
    assert block_bytes(GEMMA, 1, 16, 2.0) == block_bytes(GEMMA, 1, 16, 2.0, 62) == 16 * 62 * LAYER_TOKEN


@pytest.mark.parametrize("caching", [True, False])
@pytest.mark.parametrize("tokens", [768, 1024, 1040, 4096])
def test_a_short_request_of_gemma_takes_every_layer_and_a_long_one_a_window_of_most(tokens: int, caching: bool) -> None:
    cache = deploy(GEMMA, enable_prefix_caching=caching, async_scheduling=False).cache()
    assert isinstance(cache, WindowedCache)
    request = Request(0, tokens - 1, 2)
    before = cache.free_blocks
    cache.admit(request, 0, tokens - 1)
    cache.join(request, tokens - 1)
    cache.advance(1)
    blocks = before - cache.free_blocks
    first = max(0, tokens - 1024) // 16  # blocks before the window of the last token
    assert blocks == -(-tokens // 16) + 6 * (-(-tokens // 16) - first)
    if tokens <= 1024:
        assert blocks * 16 * 10 == 70 * tokens  # eight layers are padding
    else:
        assert blocks * 10 * 16 < 70 * tokens


def test_users_of_768_tokens_fit_as_often_as_every_layer_fits() -> None:
    deployment = deploy(GEMMA)
    cache, memory = deployment.cache(), deployment.memory
    assert isinstance(cache, WindowedCache)
    fitting = 0
    while cache.admits(Request(fitting, 768, 1), 0, 768, 768, 0):
        cache.admit(Request(fitting, 768, 1), 0, 768)
        fitting += 1
    assert fitting == memory.kv_tokens // 768 == cache.capacity_tokens // 768
    assert fitting == pytest.approx(memory.kv_bytes / (768 * 70 * LAYER_TOKEN), abs=1)
    assert fitting == 50


@given(LENGTHS, st.sampled_from([GEMMA, OSS, MISTRAL, LLAMA]), st.integers(16, 16_384))
def test_the_longest_length_that_a_start_up_takes_is_the_last_one_that_fits(
    blocks: int, model: Model, in_flight: int
) -> None:
    shape = layout(model, "0.32", 16, model.max_context, in_flight)
    length = shape.longest(blocks, model.max_context)
    assert length == 0 or shape.needed(length) <= blocks
    assert length == model.max_context or shape.needed(length + 1) > blocks


def test_a_plain_model_needs_a_block_for_every_block_of_tokens() -> None:
    shape = layout(LLAMA, "0.32", 16, 8192, 2048)
    assert [shape.needed(length) for length in (1, 16, 17, 8192)] == [2, 2, 3, 513]
    assert (shape.longest(513, 8192), shape.longest(512, 8192), shape.longest(1, 8192)) == (8192, 8176, 0)
    assert shape.tokens(513) == 8192


def test_a_start_up_reckons_with_a_window_and_all_that_may_be_under_way() -> None:
    shape = layout(GEMMA, "0.32", 16, 131_072, 4096)
    kept = -(-(1023 + 4096) // 16) + 1
    assert shape.needed(131_072) == 8192 + 6 * kept + 1
    assert shape.needed(768) == 48 + 6 * 49 + 1
    assert deploy(GEMMA, num_gpu_blocks=shape.needed(131_072)).memory.blocks == shape.needed(131_072)
    with pytest.raises(DoesNotFit, match=r"max_model_len=131056 would fit"):
        deploy(GEMMA, num_gpu_blocks=shape.needed(131_072) - 1)
    fitted = deploy(GEMMA, num_gpu_blocks=4000, max_model_len="auto").options["max_model_len"]
    assert shape.needed(fitted) <= 4000 < shape.needed(fitted + 1)


def test_asynchronous_scheduling_doubles_what_may_be_under_way() -> None:
    at_once, ahead = (
        deploy(OSS, async_scheduling=ahead, max_num_batched_tokens=512).cache() for ahead in (False, True)
    )
    assert isinstance(at_once, WindowedCache)
    assert isinstance(ahead, WindowedCache)
    assert (at_once.pipelined, at_once.most_kept) == (False, -(-(127 + 512) // 16) + 1)
    assert (ahead.pipelined, ahead.most_kept) == (True, -(-(127 + 1024) // 16) + 1)


# -- which cache


@pytest.mark.parametrize(
    ("model", "plain", "caching"),
    [(GEMMA, WindowedCache, WindowedPrefixCache), (LLAMA, PagedCache, PrefixCache), (QWEN, PagedCache, PrefixCache)],
)
def test_only_models_whose_layers_forget_get_the_cache_that_knows_windows(
    model: Model, plain: type[PagedCache], caching: type[PagedCache]
) -> None:
    assert type(deploy(model, "b200-sxm", max_model_len=8192).cache()) is caching
    assert type(deploy(model, "b200-sxm", max_model_len=8192, enable_prefix_caching=False).cache()) is plain


@pytest.mark.parametrize(("version", "dense"), [("0.14", True), ("0.28", True), ("0.29", False), ("0.32", False)])
def test_older_versions_remember_every_block_of_a_window(version: str, dense: bool) -> None:
    cache = deploy(OSS, version=version).cache()
    assert isinstance(cache, WindowedPrefixCache)
    assert cache.dense is dense
    assert cache.groups == Groups(1, 1, 128)


# -- what users are told


def test_only_what_is_not_counted_request_by_request_is_told() -> None:
    told = {
        model.id: [
            warning for warning in deploy(model, "b200-sxm", 2, max_model_len=8192).warnings if "layers" in warning
        ]
        for model in (GEMMA, OSS, MISTRAL, LLAMA, QWEN, catalog.model("gemma-4-31b"))
    }
    assert not told["gemma-3-27b"] + told["gpt-oss-20b"] + told["mistral-7b-v0.1"] + told["llama-3.1-8b"]
    assert "keep a state" in told["qwen3.5-27b"][0]
    assert "heads of another size" in told["gemma-4-31b"][0]
    told_of_chunks = deploy(SCOUT, "b200-sxm", 4, max_model_len=65_536).warnings
    assert any("keeps every token of llama-4-scout" in warning for warning in told_of_chunks)


def test_a_length_beyond_the_tokens_that_are_stated_is_explained() -> None:
    long, short = deploy(GEMMA), deploy(GEMMA, max_model_len=8192)
    assert long.memory.kv_tokens < long.options["max_model_len"]
    told = [warning for warning in long.warnings if "counted in every layer" in warning]
    needed = layout(GEMMA, "0.32", 16, 131_072, 4096).needed(131_072)
    assert long.memory.blocks is not None
    assert told[0].endswith(f"one of 131072 {needed - 1} of {long.memory.blocks - 1} blocks")
    assert not any("counted in every layer" in warning for warning in (*short.warnings, *deploy(LLAMA).warnings))
