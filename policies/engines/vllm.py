"""vLLM with its V1 engine: continuous batching over paged keys and values, as its API server is started."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.caches.windowed import WindowedCache
from policies.caches.windowed_prefix import WindowedPrefixCache
from policies.engines.vllm_defaults import RELEASES
from policies.engines.vllm_groups import Layout, layout, remembers_all
from policies.engines.vllm_memory import Budget, block_bytes, budget, require_one_request
from policies.engines.vllm_options import OPTIONS, read_options
from policies.engines.vllm_settings import element_bytes, settle, smallest, tensor_parallel, weights_of
from policies.engines.vllm_warnings import format_warning, length_warning, start_warnings
from policies.schedulers.vllm_v1 import VllmV1
from sim.engine import Deployment, MemoryPlan, Traits
from sim.hardware import Gpu, Host, Model

__all__ = ["OPTIONS", "VERSIONS", "deploy"]

VERSIONS: tuple[str, ...] = tuple(RELEASES.listed)


def deploy(gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> Deployment:
    """Plan the memory as a start-up would and choose scheduler and cache."""
    version = str(options.get("version") or VERSIONS[-1])
    defaults = RELEASES.of(version)
    asked = read_options(options, version)
    card = smallest(gpus)
    asked["tensor_parallel_size"] = tensor_parallel(gpus, model, asked.get("tensor_parallel_size"))
    kv_bytes = element_bytes(asked, options)
    settled, sizes = settle(asked, card, model, defaults)
    weights, bits = weights_of(options)
    groups = _layout(settled, model, version)
    plan = _budget(settled, card, model, bits, kv_bytes, len(sizes) if defaults.graphs_charged else 0, groups)
    blocks = _settle_length(settled, asked, plan, groups)
    return Deployment(
        engine="vllm",
        version=version,
        options=settled | {"num_gpu_blocks": blocks},
        gpus=gpus,
        host=host,
        model=model,
        memory=_memory(settled, plan, blocks, groups),
        traits=Traits(
            kernels="vllm",
            weights=weights,
            weight_bits=bits,
            kv_bytes_per_element=kv_bytes,
            overlaps_host=settled["async_scheduling"],
            tensor_parallel=settled["tensor_parallel_size"],
        ),
        scheduler=_scheduler(settled, sizes),
        cache=_cache(settled, blocks, groups, version),
        warnings=(
            *start_warnings(settled, asked, gpus, model, version),
            *format_warning(card, weights),
            *length_warning(settled, blocks, groups),
        ),
    )


# -- memory


def _layout(settled: Mapping[str, Any], model: Model, version: str) -> Layout:
    in_flight = settled["max_num_batched_tokens"] * (2 if settled["async_scheduling"] else 1)
    return layout(model, version, settled["block_size"], settled["max_model_len"], in_flight)


def _budget(
    settled: Mapping[str, Any],
    card: Gpu,
    model: Model,
    bits: float,
    kv_bytes: float,
    graphs: int,
    groups: Layout,
) -> Budget:
    tp = settled["tensor_parallel_size"]
    return budget(
        card,
        model,
        tp,
        bits,
        settled["gpu_memory_utilization"],
        settled["max_num_batched_tokens"],
        settled["max_num_seqs"],
        graphs,
        block_bytes(model, tp, settled["block_size"], kv_bytes, groups.layers),
    )


def _settle_length(settled: dict[str, Any], asked: Mapping[str, Any], plan: Budget, groups: Layout) -> int:
    """Blocks of the cache; the length is checked against them, or fitted to them."""
    blocks: int = plan.blocks
    if "kv_cache_memory_bytes" in settled:
        blocks = settled["kv_cache_memory_bytes"] // plan.block_bytes
    blocks = settled.get("num_gpu_blocks", blocks)
    if asked.get("max_model_len") == "auto":
        settled["max_model_len"] = max(1, groups.longest(blocks, settled["max_model_len"]))
    require_one_request(plan, blocks, groups, settled["max_model_len"], settled["tensor_parallel_size"])
    return blocks


def _memory(settled: Mapping[str, Any], plan: Budget, blocks: int, groups: Layout) -> MemoryPlan:
    tp = settled["tensor_parallel_size"]
    return MemoryPlan(
        weight_bytes=plan.weight_bytes * tp,
        kv_bytes=blocks * plan.block_bytes * tp,
        scratch_bytes=plan.scratch_bytes * tp,
        kv_tokens=groups.tokens(blocks),
        context=settled["max_model_len"],
        blocks=blocks,
    )


def _cache(settled: Mapping[str, Any], blocks: int, groups: Layout, version: str) -> Callable[[], PagedCache]:
    size, remembers = settled["block_size"], settled["enable_prefix_caching"]
    if not groups.slides:
        return partial(PrefixCache if remembers else PagedCache, blocks, size)
    shape = (blocks, size, groups.groups, groups.most_kept(settled["max_model_len"]), settled["async_scheduling"])
    return partial(WindowedPrefixCache, *shape, remembers_all(version)) if remembers else partial(WindowedCache, *shape)


# -- what runs


def _scheduler(settled: Mapping[str, Any], sizes: tuple[int, ...]) -> VllmV1:
    active = settled["max_num_active_seqs"] or settled["max_num_seqs"]
    return VllmV1(
        max_num_seqs=min(active, settled["max_num_seqs"]),
        max_num_batched_tokens=settled["max_num_batched_tokens"],
        max_model_len=settled["max_model_len"],
        enable_chunked_prefill=settled["enable_chunked_prefill"],
        scheduler_reserve_full_isl=settled["scheduler_reserve_full_isl"],
        watermark=settled["watermark"],
        long_prefill_token_threshold=settled["long_prefill_token_threshold"],
        long_prefill_token_threshold_adaptive=settled["long_prefill_token_threshold_adaptive"],
        policy=settled["scheduling_policy"],
        async_scheduling=settled["async_scheduling"],
        graph_sizes=sizes,
    )
