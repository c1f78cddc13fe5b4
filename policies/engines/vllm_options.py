"""vLLM's options: which are modelled, what they mean, and how their values are read."""

from collections.abc import Mapping
from typing import Any

from policies.engines.option_table import OptionTable
from policies.engines.vllm_defaults import OPTION_SINCE, RELEASES
from sim.errors import UsageError

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
SHARES = ("gpu_memory_utilization", "watermark")
MAY_BE_ZERO = ("long_prefill_token_threshold",)
POLICIES = ("fcfs", "priority")
ALIASES = {"policy": "scheduling_policy", "num_gpu_blocks_override": "num_gpu_blocks"}
TABLE = OptionTable("vLLM", OPTIONS, ALIASES, NOT_MODELLED)


def read_options(options: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The options that were set, under the engine's names and with the right types."""
    read: dict[str, Any] = {}
    for name, value in TABLE.chosen(options):
        since = OPTION_SINCE.get(name)
        if since and RELEASES.number(version) < RELEASES.number(since):
            raise UsageError(f"vLLM {version} has no option {name}; it came with {since}")
        read[name] = _typed(name, value)
    return read


def _typed(name: str, value: Any) -> Any:
    """A value as its option takes it; what the command line gives as text is read."""
    if name in BOOLEAN:
        return TABLE.switch(name, value)
    if name in SHARES:
        return _share(name, value)
    if name == "scheduling_policy":
        return TABLE.word(name, value, POLICIES)
    if name == "kv_cache_dtype":
        return str(value)
    if name == "max_model_len" and str(value).lower() in ("auto", "-1"):
        return "auto"
    return TABLE.count(name, value, 0 if name in MAY_BE_ZERO else 1)


def _share(name: str, value: Any) -> float:
    share = TABLE.share(name, value)
    if name == "gpu_memory_utilization" and share == 0:
        raise UsageError("vLLM option gpu_memory_utilization is a share between 0 and 1, and more than 0")
    return share
