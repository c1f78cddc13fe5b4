"""vLLM's options: which are modelled, what they mean, and how their values are read."""

from collections.abc import Mapping
from typing import Any

from policies.engines.vllm_defaults import OPTION_SINCE, number
from sim.errors import NotSupported, UsageError

OPTIONS: Mapping[str, str] = {
    "max_num_seqs": "sequences in the batch; default by card, 256 or 1024",
    "max_num_batched_tokens": "tokens of one step, decodes and prompts together; default by card, 2048 to 16384",
    "max_model_len": "longest prompt and output together; default the model's own, 'auto' what fits",
    "gpu_memory_utilization": "share of each GPU's memory; default 0.92, before 0.25 0.9",
    "block_size": "tokens of a block; default 16",
    "num_gpu_blocks": "blocks of the cache, null block included, as the server's log has it; wins over the estimate",
    "num_gpu_blocks_override": "the engine's own name for the same",
    "kv_cache_memory_bytes": "bytes of cache on each GPU; wins over gpu_memory_utilization",
    "enable_prefix_caching": "reuse the blocks of prompts that begin alike; default on",
    "enable_chunked_prefill": "let a prompt take what is left of a step; default on",
    "long_prefill_token_threshold": "longest chunk of a prompt while others wait; default 0, off",
    "long_prefill_token_threshold_adaptive": "raise that to an equal share of the budget; default off",
    "scheduling_policy": "fcfs or priority; default fcfs",
    "watermark": "share of the blocks kept free when a request is admitted; default 0",
    "async_scheduling": "decide a step while the last one runs; default on from 0.14",
    "scheduler_reserve_full_isl": "admit a prompt only if all of it fits; default on from 0.25",
    "max_num_active_seqs": "a further bound on the sequences in the batch; default none",
    "tensor_parallel_size": "GPUs that share each layer; default all that are given (the engine's own is 1)",
    "kv_cache_dtype": "auto or fp8; default auto, 16 bits",
    "enforce_eager": "no CUDA graphs; default off",
}

NOT_MODELLED = (
    "speculative_config",
    "num_speculative_tokens",
    "speculative_model",
    "pipeline_parallel_size",
    "data_parallel_size",
    "enable_expert_parallel",
    "swap_space",
    "cpu_offload_gb",
    "kv_offloading_size",
    "enable_lora",
    "kv_transfer_config",
    "max_num_partial_prefills",
    "max_long_partial_prefills",
    "preemption_mode",
    "num_scheduler_steps",
    "performance_mode",
    "prefill_schedule_interval",
    "max_num_queued_reqs",
    "scheduler_cls",
    "disable_hybrid_kv_cache_manager",
)

BOOLEAN = {
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "long_prefill_token_threshold_adaptive",
    "async_scheduling",
    "scheduler_reserve_full_isl",
    "enforce_eager",
}
SHARES = {"gpu_memory_utilization": (0.0, 1.0), "watermark": (0.0, 1.0)}
OF_THE_SCENARIO = ("version", "weights", "weight_bits", "kv_type")
ALIASES = {"policy": "scheduling_policy", "num_gpu_blocks_override": "num_gpu_blocks"}


def read_options(options: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The options that were set, under the engine's names and with the right types."""
    names = {fold(name): name for name in (*OPTIONS, *OF_THE_SCENARIO, *ALIASES)}
    refused = {fold(name): name for name in NOT_MODELLED}
    read: dict[str, Any] = {}
    for written, value in options.items():
        key = fold(written)
        if key in refused:
            raise NotSupported(f"vLLM's {refused[key]} is not modelled; leave it out or use another engine")
        if key not in names:
            raise UsageError(f"vLLM has no option '{written}' that is known here; known: {', '.join(OPTIONS)}")
        name = ALIASES.get(names[key], names[key])
        if name in OF_THE_SCENARIO or value is None:
            continue
        since = OPTION_SINCE.get(name)
        if since and number(version) < number(since):
            raise UsageError(f"vLLM {version} has no option {name}; it came with {since}")
        read[name] = _typed(name, value)
    return read


def _typed(name: str, value: Any) -> Any:
    """A value as its option takes it; what the command line gives as text is read."""
    if name in BOOLEAN:
        word = str(value).lower()
        if word not in ("true", "false", "1", "0", "on", "off", "yes", "no"):
            raise UsageError(f"vLLM option {name} is on or off, not {value!r}")
        return word in ("true", "1", "on", "yes")
    if name in SHARES:
        return _share(name, value)
    if name == "scheduling_policy":
        if str(value).lower() not in ("fcfs", "priority"):
            raise UsageError(f"vLLM option scheduling_policy is fcfs or priority, not {value!r}")
        return str(value).lower()
    if name == "kv_cache_dtype" or (name == "max_model_len" and str(value).lower() in ("auto", "-1")):
        return "auto" if name == "max_model_len" else str(value)
    return _count(name, value)


def _share(name: str, value: Any) -> float:
    low, high = SHARES[name]
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not low <= share <= high or (name == "gpu_memory_utilization" and share == 0):
        raise UsageError(f"vLLM option {name} is a share between {low:g} and {high:g}, not {value!r}")
    return share


def _count(name: str, value: Any) -> int:
    least = 0 if name == "long_prefill_token_threshold" else 1
    try:
        count = int(str(value).replace("_", ""))
    except ValueError:
        count = -1
    if isinstance(value, bool) or count < least:
        raise UsageError(f"vLLM option {name} is a whole number of {least} or more, not {value!r}")
    return count


def fold(name: str) -> str:
    """A name as it is compared: dashes, dots, underscores and case do not count."""
    return name.lower().translate(str.maketrans("", "", ".-_ "))
