"""What vLLM's options are when nobody sets them, by version and by card; the V1 engine only."""

from dataclasses import dataclass, replace

from policies.engines.releases import Releases
from sim.hardware import GIB, Gpu


@dataclass(frozen=True, slots=True)
class Defaults:
    """The defaults that changed between releases."""

    gpu_memory_utilization: float
    async_scheduling: bool
    scheduler_reserve_full_isl: bool
    graphs_charged: bool  # the memory estimated for CUDA graphs is taken from the cache's share
    wide_graph_steps: bool  # above 256 rows the captured sizes lie 16 apart, not 8
    spares_a100: bool  # A100s get the small batch defaults whatever their memory
    largest_tier: bool  # cards of 160 GiB and more get a budget of their own


# Known from the releases' notes and sources: A100 rule 2025-05; async scheduling by default with 0.14 (release notes);
# graph memory charged "from v0.19" (announced in the log of early 2026); full-prompt gate merged after 2026-03-18;
# 0.92 and the 160 GiB tier read in 0.32.0, 0.92 reported for 0.25 to 0.30.
V1 = Defaults(
    gpu_memory_utilization=0.9,
    async_scheduling=False,
    scheduler_reserve_full_isl=False,
    graphs_charged=False,
    wide_graph_steps=False,
    spares_a100=False,
    largest_tier=False,
)
SPARING = replace(V1, spares_a100=True)
AHEAD = replace(SPARING, async_scheduling=True, wide_graph_steps=True)
CHARGED = replace(AHEAD, graphs_charged=True)
RESERVING = replace(CHARGED, gpu_memory_utilization=0.92, scheduler_reserve_full_isl=True)
RELEASES = Releases(
    "vLLM",
    {
        "0.8": V1,
        "0.9": SPARING,
        "0.14": AHEAD,
        "0.19": CHARGED,
        "0.25": RESERVING,
        "0.32": replace(RESERVING, largest_tier=True),
    },
    too_old="runs the V0 engine by default",
)

OPTION_SINCE = {
    "scheduler_reserve_full_isl": "0.25",
    "watermark": "0.25",
    "long_prefill_token_threshold_adaptive": "0.32",
    "max_num_active_seqs": "0.32",
}

MANY_ROWS = 512  # the largest captured batch


def batch_defaults(gpu: Gpu, defaults: Defaults) -> tuple[int, int]:
    """max_num_batched_tokens and max_num_seqs of the API server on this card."""
    if defaults.largest_tier and gpu.memory_bytes >= 160 * GIB:
        return 16384, 1024
    spared = defaults.spares_a100 and "a100" in gpu.name.lower()
    return (8192, 1024) if gpu.memory_bytes >= 70 * GIB and not spared else (2048, 256)


def graph_sizes(max_num_seqs: int, max_num_batched_tokens: int, defaults: Defaults) -> tuple[int, ...]:
    """Batch sizes that CUDA graphs are captured for; a batch of decodes is padded to the next one."""
    largest = min(2 * max_num_seqs, MANY_ROWS, max_num_batched_tokens)
    above = range(256, largest + 1, 16 if defaults.wide_graph_steps else 8)
    return tuple(size for size in (1, 2, 4, *range(8, 256, 8), *above) if size <= largest)
