"""What every option of vLLM is once a start-up has settled it, and what it runs on."""

from collections.abc import Mapping
from typing import Any

from policies.engines.vllm_defaults import Defaults, batch_defaults, graph_sizes
from sim.errors import NotSupported, UsageError
from sim.hardware import Gpu, Model
from sim.naming import fold

BEFORE_VOLTA = ("maxwell", "pascal")
KV_BYTES = {"auto": 2.0, "bf16": 2.0, "bfloat16": 2.0, "fp16": 2.0, "f16": 2.0, "float16": 2.0}
KV_BYTES |= {"fp8": 1.0, "fp8e4m3": 1.0, "fp8e5m2": 1.0}
WEIGHT_BITS = {"bf16": 16.0, "fp16": 16.0, "f16": 16.0, "fp32": 32.0, "f32": 32.0}


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


def tensor_parallel(gpus: tuple[Gpu, ...], model: Model, asked: int | None) -> int:
    """GPUs that share every layer: all, unless told otherwise."""
    size = asked or len(gpus)
    if size > len(gpus):
        raise UsageError(f"tensor_parallel_size {size} needs {size} GPUs, {len(gpus)} are given")
    if model.heads % size:
        raise UsageError(f"{model.id} has {model.heads} attention heads, which {size} GPUs cannot share evenly")
    return size


def smallest(gpus: tuple[Gpu, ...]) -> Gpu:
    """The card that decides, for every GPU holds an equal part."""
    if not gpus:
        raise UsageError("vLLM needs a GPU here")
    if any(gpu.vendor == "apple" for gpu in gpus):
        raise NotSupported("vLLM on Apple GPUs is not modelled; use llama.cpp or Ollama")
    if old := [gpu.name for gpu in gpus if gpu.architecture in BEFORE_VOLTA]:
        raise NotSupported(f"vLLM runs on NVIDIA's cards from Volta on, not on {old[0]}; use llama.cpp or Ollama")
    return min(gpus, key=lambda gpu: gpu.memory_bytes)


def element_bytes(asked: Mapping[str, Any], options: Mapping[str, Any]) -> float:
    """Bytes of an element of the cache."""
    kind = str(asked.get("kv_cache_dtype") or options.get("kv_type") or "auto")
    if fold(kind) not in KV_BYTES:
        raise NotSupported(f"vLLM's kv_cache_dtype '{kind}' is not modelled; known: auto, fp8, fp8_e4m3, fp8_e5m2")
    return KV_BYTES[fold(kind)]


def weights_of(options: Mapping[str, Any]) -> tuple[str, float]:
    """The format of the weights, and its bits of a parameter."""
    weights = str(options.get("weights") or "bf16").lower()
    bits = options.get("weight_bits") or WEIGHT_BITS.get(weights)
    if bits is None:
        raise UsageError(f"weights '{weights}' need weight_bits, the bits of a parameter")
    return weights, float(bits)
