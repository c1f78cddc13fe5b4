"""vLLM with its V1 engine: continuous batching over paged keys and values, as its API server is started."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.caches.windowed import WindowedCache
from policies.caches.windowed_prefix import WindowedPrefixCache
from policies.engines.vllm_defaults import RELEASES, Defaults, batch_defaults, graph_sizes
from policies.engines.vllm_groups import Layout, keeps_everything, keeps_state, layout, remembers_all
from policies.engines.vllm_memory import Budget, block_bytes, budget, require_one_request
from policies.engines.vllm_options import OPTIONS, read_options
from policies.schedulers.vllm_v1 import VllmV1
from sim.engine import Deployment, MemoryPlan, Traits
from sim.errors import NotSupported, UsageError
from sim.hardware import Gpu, Host, Model
from sim.naming import fold

__all__ = ["OPTIONS", "VERSIONS", "deploy"]

VERSIONS: tuple[str, ...] = tuple(RELEASES.listed)

KV_BYTES = {"auto": 2.0, "bf16": 2.0, "bfloat16": 2.0, "fp16": 2.0, "f16": 2.0, "float16": 2.0}
KV_BYTES |= {"fp8": 1.0, "fp8e4m3": 1.0, "fp8e5m2": 1.0}
UNEQUAL_FAMILIES = ("gemma4",)
WEIGHT_BITS = {"bf16": 16.0, "fp16": 16.0, "f16": 16.0, "fp32": 32.0, "f32": 32.0}


def deploy(gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> Deployment:
    """Plan the memory as a start-up would and choose scheduler and cache."""
    version = str(options.get("version") or VERSIONS[-1])
    defaults = RELEASES.of(version)
    asked = read_options(options, version)
    card = _smallest(gpus)
    asked["tensor_parallel_size"] = _tensor_parallel(gpus, model, asked.get("tensor_parallel_size"))
    kv_bytes = _kv_bytes(asked, options)
    settled, sizes = settle(asked, card, model, defaults)
    weights, bits = _weights(options)
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
        warnings=(*_warnings(settled, asked, gpus, model, version), *_length_warning(settled, blocks, groups)),
    )


# -- options


def settle(
    asked: Mapping[str, Any], card: Gpu, model: Model, defaults: Defaults
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Every option's value, and the batch sizes that graphs are captured for."""
    settled: dict[str, Any] = {
        "max_model_len": model.max_context,
        "gpu_memory_utilization": defaults.gpu_memory_utilization,
        "block_size": 16,
        "enable_prefix_caching": True,
        "enable_chunked_prefill": True,
        "long_prefill_token_threshold": 0,
        "long_prefill_token_threshold_adaptive": False,
        "scheduling_policy": "fcfs",
        "watermark": 0.0,
        "async_scheduling": defaults.async_scheduling,
        "scheduler_reserve_full_isl": defaults.scheduler_reserve_full_isl,
        "max_num_active_seqs": None,
        "kv_cache_dtype": "auto",
        "enforce_eager": False,
        **asked,
    }
    if settled["max_model_len"] == "auto":
        settled["max_model_len"] = model.max_context
    if settled["max_model_len"] > model.max_context:
        raise UsageError(
            f"max_model_len {settled['max_model_len']} is more than the {model.max_context} tokens of {model.id}"
        )
    _settle_batch(settled, asked, card, defaults)
    eager = settled["enforce_eager"]
    sizes = graph_sizes(settled["max_num_seqs"], settled["max_num_batched_tokens"], defaults)
    return settled, () if eager else sizes


def _settle_batch(settled: dict[str, Any], asked: Mapping[str, Any], card: Gpu, defaults: Defaults) -> None:
    """The two bounds of a batch: defaults by card, each held by the other."""
    tokens, sequences = batch_defaults(card, defaults)
    sequences = settled.setdefault("max_num_seqs", sequences)
    length = settled["max_model_len"]
    if "max_num_batched_tokens" not in asked:
        if not settled["enable_chunked_prefill"]:
            tokens = max(tokens, length)
        settled["max_num_batched_tokens"] = min(tokens, sequences * length)
    tokens = settled["max_num_batched_tokens"]
    if "max_num_seqs" not in asked:
        settled["max_num_seqs"] = min(sequences, tokens)
    elif tokens < sequences:
        raise UsageError(f"max_num_batched_tokens {tokens} is less than max_num_seqs {sequences}; vLLM refuses that")
    if not settled["enable_chunked_prefill"] and tokens < length:
        raise UsageError(
            f"without chunked prefill max_num_batched_tokens ({tokens}) must hold max_model_len ({length}); "
            "vLLM refuses less"
        )


def _tensor_parallel(gpus: tuple[Gpu, ...], model: Model, asked: int | None) -> int:
    size = asked or len(gpus)
    if size > len(gpus):
        raise UsageError(f"tensor_parallel_size {size} needs {size} GPUs, {len(gpus)} are given")
    if model.heads % size:
        raise UsageError(f"{model.id} has {model.heads} attention heads, which {size} GPUs cannot share evenly")
    return size


def _smallest(gpus: tuple[Gpu, ...]) -> Gpu:
    """The card that decides, for every GPU holds an equal part."""
    if not gpus:
        raise UsageError("vLLM needs a GPU here")
    if any(gpu.vendor == "apple" for gpu in gpus):
        raise NotSupported("vLLM on Apple GPUs is not modelled; use llama.cpp or Ollama")
    return min(gpus, key=lambda gpu: gpu.memory_bytes)


def _kv_bytes(asked: Mapping[str, Any], options: Mapping[str, Any]) -> float:
    kind = str(asked.get("kv_cache_dtype") or options.get("kv_type") or "auto")
    if fold(kind) not in KV_BYTES:
        raise NotSupported(f"vLLM's kv_cache_dtype '{kind}' is not modelled; known: auto, fp8, fp8_e4m3, fp8_e5m2")
    return KV_BYTES[fold(kind)]


def _weights(options: Mapping[str, Any]) -> tuple[str, float]:
    weights = str(options.get("weights") or "bf16").lower()
    bits = options.get("weight_bits") or WEIGHT_BITS.get(weights)
    if bits is None:
        raise UsageError(f"weights '{weights}' need weight_bits, the bits of a parameter")
    return weights, float(bits)


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


def _warnings(
    settled: Mapping[str, Any], asked: Mapping[str, Any], gpus: tuple[Gpu, ...], model: Model, version: str
) -> tuple[str, ...]:
    told = [*RELEASES.warnings(version)]
    if 0 < model.window < settled["max_model_len"]:
        told.extend(_window_warnings(settled, model, version))
    if "num_gpu_blocks" not in asked and "kv_cache_memory_bytes" not in asked:
        told.append("num_gpu_blocks is an estimate; a real server logs its own at start-up: set it if you have it")
    if settled["enforce_eager"]:
        told.append("enforce_eager: batches are not padded; the slower launches of its kernels are not priced")
    idle = len(gpus) - settled["tensor_parallel_size"]
    if idle:
        told.append(f"{idle} of {len(gpus)} GPUs are idle: tensor_parallel_size is {settled['tensor_parallel_size']}")
    return tuple(told)


def _length_warning(settled: Mapping[str, Any], blocks: int, groups: Layout) -> tuple[str, ...]:
    length = settled["max_model_len"]
    if groups.tokens(blocks) >= length:
        return ()
    window, needed = groups.groups.window, groups.needed(length) - 1
    less = f"requests longer than the window of {window} take less, one of {length} {needed} of {blocks - 1} blocks"
    return (f"KV tokens are counted in every layer: {less}",)


def _window_warnings(settled: Mapping[str, Any], model: Model, version: str) -> list[str]:
    told = ""
    if keeps_state(model):
        told = (
            f"layers that keep a state are counted as a share of requests of max_model_len {settled['max_model_len']}: "
            "shorter ones take more memory a token; give the length that yours reach"
        )
    elif keeps_everything(model, version):
        told = f"vLLM {version} keeps every token of {model.id} in layers with a window too"
    elif model.family in UNEQUAL_FAMILIES:
        told = (
            f"layers with a window have heads of another size in {model.id}: "
            "requests shorter than it take more memory than is counted here"
        )
    return [told] if told else []
