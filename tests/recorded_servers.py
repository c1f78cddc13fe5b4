"""The servers of the recordings: their policies with the options of their command lines, their steps by the table."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from calibration import catalog
from calibration.tables.steptable import StepTable, load
from policies.caches.paged import PagedCache
from policies.caches.slots import SlotCache, split_context
from policies.caches.unified import UnifiedCache
from policies.schedulers.llama_slots import LlamaSlots
from policies.schedulers.vllm_v1 import VllmV1
from sim.cache import KVCache
from sim.engine import Deployment, MemoryPlan, Traits
from sim.scheduler import Scheduler
from tests.recordings import Recording

TABLES = Path(__file__).parents[1] / "calibration" / "measurements"
CPU_CACHE_BYTES = 2**30  # VLLM_CPU_KVCACHE_SPACE=1
CPU_BLOCK_TOKENS = 128


def step_table(recording: Recording) -> StepTable:
    """What the steps of the server's kind take."""
    kind = "unified" if "-kvu" in recording.command.split() else "split"
    name = f"vllm-{recording.name}" if recording.engine == "vllm" else f"llamacpp-{kind}"
    return load(TABLES / f"rand78m-{name}.json")


def deployment(recording: Recording) -> Deployment:
    """The server with the options of its command line."""
    options = recording.command.split()
    model = catalog.model("rand-78m")
    if recording.engine == "vllm":
        scheduler, cache = _vllm(options, CPU_CACHE_BYTES // model.kv_bytes_per_token())
    else:
        scheduler, cache = _llama_server(options)
    host, plan, traits = catalog.host("server-ddr5"), MemoryPlan(0, 0, 0, 0, 0), Traits(recording.engine, "f16", 16.0)
    return Deployment(recording.engine, "recorded", {}, (), host, model, plan, traits, scheduler, cache)


def _llama_server(options: list[str]) -> tuple[Scheduler, Callable[[], KVCache]]:
    slots, n_ctx = _number(options, "-np"), _number(options, "-c")
    scheduler = LlamaSlots(cont_batching="-nocb" not in options, cache_prompt=False)
    if "-kvu" in options:
        return scheduler, partial(UnifiedCache, slots, n_ctx)
    return scheduler, partial(SlotCache, slots, split_context(n_ctx, slots))


def _vllm(options: list[str], cache_tokens: int) -> tuple[Scheduler, Callable[[], KVCache]]:
    scheduler = VllmV1(
        max_num_seqs=_number(options, "--max-num-seqs"),
        max_num_batched_tokens=_number(options, "--max-num-batched-tokens"),
        max_model_len=_number(options, "--max-model-len"),
    )
    size = _number(options, "--block-size", CPU_BLOCK_TOKENS)
    return scheduler, partial(PagedCache, _number(options, "--num-gpu-blocks-override", cache_tokens // size), size)


def _number(options: list[str], name: str, default: int | None = None) -> int:
    if default is not None and name not in options:
        return default
    return int(options[options.index(name) + 1])
