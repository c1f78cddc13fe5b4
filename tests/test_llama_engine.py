"""llama.cpp put on a machine: slots and context by build, memory by what fits, options by their own names."""

from dataclasses import replace
from typing import Any

import pytest

from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from policies.engines.llama_cpp import OPTIONS, VERSIONS, deploy
from policies.schedulers.llama_slots import LlamaSlots
from sim.engine import Deployment
from sim.errors import DoesNotFit, NotSupported, UnknownName, UsageError
from sim.hardware import GIB, MIB, Gpu, Host, Model

CARD = Gpu("card", "Card", "nvidia", "gddr", 16 * GIB, 288.0, 22.0)
HOST = Host("host", "Host", 32 * GIB, 60.0, 0.5)
MODEL = Model(
    "model", "Model", "llama", 8_030_261_248, 8_030_261_248, 32, 4096, 32, 8, 128, 128_256, 131_072, intermediate=14_336
)
TOKEN_BYTES = 131_072


def start(card: Gpu = CARD, host: Host = HOST, **options: Any) -> Deployment:
    return deploy((card,), host, MODEL, {"weights": "q4_k_m", "weight_bits": 4.9, **options})


def scheduler(deployment: Deployment) -> LlamaSlots:
    assert isinstance(deployment.scheduler, LlamaSlots)
    return deployment.scheduler


@pytest.mark.parametrize(
    ("options", "slots", "context", "total", "unified"),
    [
        ({"ctx_size": 8192, "parallel": 3}, 3, 2816, 8448, False),
        ({"ctx_size": 4096, "parallel": 4}, 4, 1024, 4096, False),
        ({"ctx_size": 10000, "parallel": 4}, 4, 2560, 10240, False),
        ({"ctx_size": 8000}, 4, 8192, 8192, True),
        ({"ctx_size": 8192, "parallel": 2, "kv_unified": True}, 2, 8192, 8192, True),
        ({"ctx_size": 8192, "version": "b6924"}, 1, 8192, 8192, False),
        ({"ctx_size": 8192, "version": "b6925"}, 4, 8192, 8192, True),
        ({"ctx_size": 8192, "parallel": 4, "version": "b5912"}, 4, 2048, 8192, True),
        ({"ctx_size": 8192, "parallel": 4, "version": "b5913"}, 4, 2048, 8192, False),
        ({"parallel": 2, "version": "b6925"}, 2, 2048, 4096, False),
    ],
)
def test_a_context_is_divided_or_shared_as_the_build_does(
    options: dict[str, Any], slots: int, context: int, total: int, unified: bool
) -> None:
    deployment = start(**options)
    memory = deployment.memory
    assert (memory.slots, memory.context, memory.kv_tokens) == (slots, context, total)
    assert memory.kv_bytes == total * TOKEN_BYTES
    cache = deployment.cache()
    assert isinstance(cache, UnifiedCache if unified else SlotCache)
    assert deployment.traits.unified_cells == isinstance(cache, UnifiedCache) == unified
    assert (cache.slots, cache.lane_tokens, cache.capacity_tokens) == (slots, context, total)


def test_a_context_left_to_the_server_leaves_its_margin_free_and_shrinks_only_as_far_as_needed() -> None:
    memory = start().memory
    used = memory.weight_bytes + memory.kv_bytes + memory.scratch_bytes
    assert 4096 < memory.context < MODEL.max_context
    assert CARD.memory_bytes - used > GIB
    assert CARD.memory_bytes - used - 256 * TOKEN_BYTES < GIB + 512 * MIB
    assert memory.layers_on_host == 0


def test_a_context_that_was_asked_for_is_never_shrunk_and_pushes_layers_to_the_host() -> None:
    memory = start(ctx_size=131_072).memory
    assert memory.context == 131_072
    assert 0 < memory.layers_on_host < 32
    assert memory.host_kv_bytes + memory.kv_bytes == 131_072 * TOKEN_BYTES


def test_below_4096_tokens_layers_give_way_and_not_the_context() -> None:
    memory = start(card=replace(CARD, memory_bytes=4 * GIB)).memory
    assert memory.context == 4096
    assert memory.layers_on_host > 0


def test_layers_that_were_asked_for_fit_or_the_server_does_not_start() -> None:
    assert start(ngl=20, ctx_size=4096).memory.layers_on_host == 13
    with pytest.raises(DoesNotFit, match="n_gpu_layers 33") as caught:
        start(ngl=99, ctx_size=131_072)
    assert caught.value.missing_bytes > GIB


def test_what_neither_gpu_nor_host_holds_is_told_in_bytes() -> None:
    small = replace(HOST, ram_bytes=8 * GIB)
    with pytest.raises(DoesNotFit, match="ctx-size") as caught:
        start(host=small, parallel=4, ctx_size=4 * 131_072)
    needed = 4 * 131_072 * TOKEN_BYTES
    assert needed - 24 * GIB < caught.value.missing_bytes < needed


def test_a_quantised_cache_takes_its_share_of_the_bytes() -> None:
    assert start(ctx_size=4096, ctk="q8_0").memory.kv_bytes == 4096 * TOKEN_BYTES * 34 // 64
    assert start(ctx_size=4096, kv_type="q8_0").traits.kv_bytes_per_element == 1.0625


def test_host_ram_for_prompts_came_with_b6723() -> None:
    assert scheduler(start(version="b6722")).cache_ram_tokens == 0
    assert scheduler(start(version="b6723")).cache_ram_tokens == 8192 * MIB // TOKEN_BYTES
    assert scheduler(start(cram=0)).cache_ram_tokens == 0
    assert scheduler(start(cram=-1)).cache_ram_tokens > 10**9


def test_the_batch_is_no_larger_than_the_context() -> None:
    chosen = scheduler(start(ctx_size=1024, parallel=1))
    assert (chosen.n_batch, chosen.n_ubatch) == (1024, 512)
    with pytest.raises(UsageError, match="batch_size"):
        start(parallel=8, ctx_size=8192, b=4)


def test_options_are_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="context_shift"):
        start(context_shift=True)
    with pytest.raises(UnknownName, match="ctx_size"):
        start(ctx_sise=4096)
    with pytest.raises(UsageError, match="cont_batching"):
        start(cont_batching="perhaps")
    with pytest.raises(UsageError, match="parallel"):
        start(parallel=0)
    with pytest.raises(UsageError, match="builds such as"):
        start(version="0.9")
    with pytest.raises(NotSupported, match="b2496"):
        start(version="b2000")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_listed_build_starts_and_says_all_its_options(version: str) -> None:
    assert start(version=version).options.keys() == OPTIONS.keys()
