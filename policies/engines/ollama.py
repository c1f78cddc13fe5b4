"""Ollama: slots whose memory is reserved when the model is loaded, behind a queue that a loaded model never bounds."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from policies.caches.ollama_cells import OllamaCells
from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from policies.engines.ollama_defaults import FORK, LLAMA_SERVER, RUNNERS, USUAL_BATCH
from policies.engines.ollama_launch import DEFAULT_WEIGHTS, VERSIONS, Launch
from policies.engines.ollama_options import OPTIONS
from policies.schedulers.llama_runner import LlamaRunner
from policies.schedulers.ollama_runner import OllamaRunner
from policies.schedulers.ollama_slots import OllamaSlots
from sim.cache import KVCache
from sim.engine import Deployment, Door, Traits
from sim.errors import UsageError
from sim.hardware import MIB, Gpu, Host, Model
from sim.scheduler import Scheduler

__all__ = ["DEFAULT_WEIGHTS", "OPTIONS", "VERSIONS", "deploy"]

DISK_BYTES_S = 3e9  # a PCIe 3.0 NVMe drive; the link to the card is taken where it is slower
PROMPT_CACHE_BYTES = 8192 * MIB  # of host RAM, llama-server's default
OLD_PROMPT_SIMILARITY = 0.5  # llama.cpp before 2025-09


def deploy(gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> Deployment:
    """Load the model as this version would and choose what runs it."""
    if not gpus:
        raise UsageError("Ollama without a GPU is not modelled")
    launch = Launch(gpus, host, model, options)
    return Deployment(
        engine="ollama",
        version=launch.version,
        options=_settled(launch),
        gpus=gpus,
        host=host,
        model=model,
        memory=launch.memory,
        traits=_traits(launch),
        scheduler=_scheduler(launch),
        cache=_cache(launch),
        door=_door(launch),
        warnings=tuple(launch.warnings),
    )


def _settled(launch: Launch) -> dict[str, Any]:
    """Every option's value."""
    settled: dict[str, Any] = {
        "num_parallel": launch.slots.count,
        "num_ctx": launch.num_ctx,
        "num_batch": launch.slots.batch,
        "max_queue": launch.asked.get("max_queue", launch.release.max_queue),
        "num_gpu": launch.model.layers + 1 - launch.memory.layers_on_host,
        "gpu_overhead": launch.asked.get("gpu_overhead", 0),
        "kv_cache_type": launch.kv_type,
        "flash_attention": launch.flash_attention,
        "cold": launch.asked.get("cold", False),
    }
    if launch.era == RUNNERS:
        settled["new_engine"] = launch.own_engine
    if launch.era != FORK:
        settled |= {"context_shift": launch.context_shift, "truncate": launch.asked.get("truncate", True)}
    return settled


def _traits(launch: Launch) -> Traits:
    """What the step time depends on besides the batch."""
    return Traits(
        kernels="llama.cpp",
        weights=launch.weights,
        weight_bits=launch.weight_bits,
        kv_bytes_per_element=launch.kv_bytes,
        overlaps_host=launch.looks_ahead,
        unified_cells=launch.era != LLAMA_SERVER,
        sampler=_sampler(launch),
    )


def _sampler(launch: Launch) -> str:
    """Who samples; upstream's chain punishes repetition if asked to."""
    if launch.own_engine:
        return "own"
    return "penalised" if launch.release.penalises else "plain"


def _scheduler(launch: Launch) -> Scheduler:
    """The runner of the version, the newer one for the families that have it."""
    batch, truncate = launch.slots.batch, launch.asked.get("truncate", True)
    shift = launch.context_shift
    if launch.own_engine:
        return OllamaRunner(batch, shift, truncate, lookahead=launch.looks_ahead)
    if launch.era == RUNNERS:
        return LlamaRunner(batch, shift, truncate, n_ubatch=min(batch, USUAL_BATCH))
    if launch.era == FORK:
        return OllamaSlots(n_batch=batch, n_ubatch=batch, slot_prompt_similarity=OLD_PROMPT_SIMILARITY)
    cell_bytes = launch.model.kv_bytes_per_token(launch.kv_bytes)
    return OllamaSlots(
        n_batch=batch,
        n_ubatch=batch,
        cache_ram_tokens=PROMPT_CACHE_BYTES // cell_bytes,
        kv_bytes_per_token=cell_bytes,
        context_shift=shift,
        truncate=truncate,
    )


def _cache(launch: Launch) -> Callable[[], KVCache]:
    """The cells of all slots, empty."""
    count, lane = launch.slots.count, launch.lane(launch.slots.count)
    if launch.era == LLAMA_SERVER:
        return partial(SlotCache, count, lane)
    if launch.era == RUNNERS:
        return partial(OllamaCells, count, lane)
    return partial(UnifiedCache, count, count * lane, lane)


def _door(launch: Launch) -> Door:
    """One permit a slot; the queue is bounded only while the model is loaded."""
    cold = launch.asked.get("cold", False)
    file_bytes = launch.memory.weight_bytes + launch.memory.host_weight_bytes
    rate = min(DISK_BYTES_S, *[gpu.pcie_gbs * 1e9 for gpu in launch.gpus])
    return Door(
        permits=launch.slots.count,
        load_s=file_bytes / rate if cold else 0.0,
        pending_limit=launch.asked.get("max_queue", launch.release.max_queue),
        waits_inside=launch.era != LLAMA_SERVER,
    )
