"""llama.cpp's server: slots that divide a context, or share it, beside weights that may partly lie on the host."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from policies.caches.content import UNBOUNDED
from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from policies.engines.llama_launch import DEFAULT_WEIGHTS, Launch
from policies.engines.llama_options import KV_BYTES, OPTIONS, VERSIONS
from policies.schedulers.llama_slots import LlamaSlots
from sim.cache import KVCache
from sim.engine import Deployment, Traits
from sim.errors import UsageError
from sim.hardware import MIB, Gpu, Host, Model

__all__ = ["DEFAULT_WEIGHTS", "OPTIONS", "VERSIONS", "deploy"]


def deploy(gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> Deployment:
    """Plan the memory as the server's start would and choose scheduler and cache."""
    if not gpus:
        raise UsageError("llama.cpp needs a GPU here")
    launch = Launch(gpus, host, model, options)
    settled = _settled(launch)
    return Deployment(
        engine="llama_cpp",
        version=launch.version,
        options=settled,
        gpus=gpus,
        host=host,
        model=model,
        memory=launch.memory,
        traits=Traits(
            kernels="llama.cpp",
            weights=launch.weights,
            weight_bits=launch.bits,
            kv_bytes_per_element=KV_BYTES[launch.kv_type],
            unified_cells=launch.unified,
            sampler="plain",
        ),
        scheduler=_scheduler(launch, settled),
        cache=_cache(launch),
        warnings=tuple(launch.warnings),
    )


def _settled(launch: Launch) -> dict[str, Any]:
    """Every option's value."""
    asked, defaults = launch.asked, launch.defaults
    return {
        "parallel": launch.slots,
        "ctx_size": launch.cells.total,
        "batch_size": launch.batch,
        "ubatch_size": min(launch.ubatch, launch.batch),
        "kv_unified": launch.unified,
        "cont_batching": asked.get("cont_batching", True),
        "cache_prompt": asked.get("cache_prompt", True),
        "cache_ram": asked.get("cache_ram", defaults.cache_ram),
        "cache_idle_slots": asked.get("cache_idle_slots", defaults.cache_idle_slots),
        "slot_prompt_similarity": asked.get("slot_prompt_similarity", defaults.slot_prompt_similarity),
        "n_gpu_layers": launch.split.on_gpu,
        "cache_type": launch.kv_type,
    }


def _scheduler(launch: Launch, settled: Mapping[str, Any]) -> LlamaSlots:
    """The server's loop with its options."""
    token_bytes = launch.model.kv_bytes_per_token(KV_BYTES[launch.kv_type])
    ram = settled["cache_ram"]
    return LlamaSlots(
        n_batch=settled["batch_size"],
        n_ubatch=settled["ubatch_size"],
        cont_batching=settled["cont_batching"],
        slot_prompt_similarity=settled["slot_prompt_similarity"],
        cache_prompt=settled["cache_prompt"],
        cache_ram_tokens=UNBOUNDED if ram < 0 else ram * MIB // token_bytes,
        cache_idle_slots=settled["cache_idle_slots"],
        kv_bytes_per_token=token_bytes,
    )


def _cache(launch: Launch) -> Callable[[], KVCache]:
    """The cells of all slots, empty."""
    cells = launch.cells
    if cells.unified:
        return partial(UnifiedCache, cells.slots, cells.total, cells.lane)
    return partial(SlotCache, cells.slots, cells.lane)
