"""Ollama: slots whose memory is reserved when the model is loaded, behind a queue that a loaded model never bounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from policies.caches.ollama_cells import OllamaCells
from policies.caches.slots import SlotCache, split_context
from policies.caches.unified import UnifiedCache
from policies.engines.ollama_defaults import (
    FORK,
    LEAST_CONTEXT,
    LLAMA_SERVER,
    RELEASES,
    RUNNERS,
    SERIAL_FAMILIES,
    USUAL_BATCH,
    Release,
    automatic_batch,
    default_context,
    number,
    release_of,
)
from policies.engines.ollama_memory import (
    FIT_MARGIN_BYTES,
    Demand,
    demand,
    forced_split,
    plan,
    scratch_bytes,
    split,
    usable_bytes,
)
from policies.engines.ollama_options import KV_BYTES, MODELLED_TO, OPTIONS, UPSTREAM_KV_BYTES, kv_type, read_options
from policies.schedulers.llama_runner import LlamaRunner
from policies.schedulers.ollama_runner import OllamaRunner
from policies.schedulers.ollama_slots import OllamaSlots
from sim.cache import KVCache
from sim.engine import Deployment, Door, MemoryPlan, Traits
from sim.errors import UsageError
from sim.hardware import GIB, MIB, Gpu, Host, Model
from sim.scheduler import Scheduler

__all__ = ["DEFAULT_WEIGHTS", "OPTIONS", "VERSIONS", "deploy"]

VERSIONS: tuple[str, ...] = tuple(RELEASES)
DEFAULT_WEIGHTS = "q4_k_m"
# Q4_K_M of Llama 3.1 8B, for callers that name no format.
DEFAULT_WEIGHT_BITS = 4.8944

DISK_BYTES_S = 3e9  # a PCIe 3.0 NVMe drive; the link to the card is taken where it is slower
PROMPT_CACHE_BYTES = 8192 * MIB  # of host RAM, llama-server's default
OLD_PROMPT_SIMILARITY = 0.5  # llama.cpp before 2025-09
MOST_SLOTS_ADVISED = 1024


def deploy(gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> Deployment:
    """Load the model as this version would and choose what runs it."""
    if not gpus:
        raise UsageError("Ollama without a GPU is not modelled")
    launch = _Launch(gpus, host, model, options)
    return Deployment(
        engine="ollama",
        version=launch.version,
        options=launch.settled(),
        gpus=gpus,
        host=host,
        model=model,
        memory=launch.memory,
        traits=launch.traits(),
        scheduler=launch.scheduler(),
        cache=launch.cache(),
        door=launch.door(),
        warnings=tuple(launch.warnings),
    )


@dataclass(frozen=True, slots=True)
class _Slots:
    """A number of slots with what follows from it."""

    count: int
    batch: int
    demand: Demand
    fits: bool  # all of it on the GPUs


class _Launch:
    """One start of the server, decided step by step."""

    def __init__(self, gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> None:
        self.gpus, self.model = gpus, model
        self.version = str(options.get("version") or VERSIONS[-1]).lower().removeprefix("v")
        self.release: Release = release_of(self.version)
        self.asked = read_options(options, self.version)
        self.warnings: list[str] = []
        if number(self.version)[:2] > MODELLED_TO:
            self.warnings.append(
                f"Ollama {self.version} is newer than what is known here: it behaves as {VERSIONS[-1]}"
            )
        self.weights = str(options.get("weights") or DEFAULT_WEIGHTS).lower()
        self.weight_bits = float(options.get("weight_bits") or model.gguf_bits.get(self.weights, DEFAULT_WEIGHT_BITS))
        self.era = self.release.era
        self.own_engine = self.era == RUNNERS and (
            self.asked.get("new_engine", model.family in self.release.own_engine)
        )
        self.flash_attention: bool = self.asked.get(
            "flash_attention", self.era == LLAMA_SERVER or model.family in self.release.flash_attention
        )
        self.kv_type = self._settle_kv_type(options)
        self.num_ctx = self._settle_context()
        margin = FIT_MARGIN_BYTES if self.era == LLAMA_SERVER else 0
        self.rooms = tuple(usable_bytes(gpu, margin) for gpu in gpus)
        self.slots = self._settle_slots()
        self.memory = self._place(host)
        if self.memory.layers_on_host and "num_gpu" not in self.asked:
            self.warnings.append(self._spill_advice())

    # -- settings

    def _settle_kv_type(self, options: Mapping[str, Any]) -> str:
        named = kv_type(self.asked, options)
        if self.era != LLAMA_SERVER and named in UPSTREAM_KV_BYTES:
            raise UsageError(f"Ollama {self.version} has no kv_cache_type '{named}'; known: {', '.join(KV_BYTES)}")
        if named in ("f16", "bf16", "f32") or self.flash_attention:
            return named
        self.warnings.append(
            f"kv_cache_type {named} needs flash attention and is ignored: keys and values are f16; --flash-attention on"
        )
        return "f16"

    @property
    def kv_bytes(self) -> float:
        """Bytes of an element of the cache."""
        return (KV_BYTES | UPSTREAM_KV_BYTES)[self.kv_type]

    def _settle_context(self) -> int:
        asked: int = max(LEAST_CONTEXT, self.asked.get("num_ctx", default_context(self.release, self.gpus)))
        if asked > self.model.max_context and "num_ctx" in self.asked:
            self.warnings.append(f"num_ctx {asked} is cut to the {self.model.max_context} tokens of {self.model.id}")
        return min(asked, self.model.max_context)

    def _settle_slots(self) -> _Slots:
        """Slots as asked for, or the first number of the release's that fits on the GPUs."""
        asked = self.asked.get("num_parallel")
        if self.model.family in SERIAL_FAMILIES:
            if asked is not None and asked > 1:
                self.warnings.append(
                    f"num_parallel {asked} is ignored: Ollama serves {self.model.family} models one request at a time"
                )
            return self._with_slots(1)
        if asked is not None:
            return self._with_slots(asked)
        tried = [self._with_slots(count) for count in self.release.parallel]
        chosen = next((slots for slots in tried if slots.fits), tried[-1])
        if chosen is not tried[0]:
            self.warnings.append(
                f"{tried[0].count} slots of {self.num_ctx} tokens do not fit, so there is one: requests are served one "
                f"after the other; --num-parallel {tried[0].count} with a smaller --num-ctx fits"
            )
        return chosen

    def _with_slots(self, count: int) -> _Slots:
        batch = self._batch(count)
        lane = self._lane(count)
        span = lane if self.era == LLAMA_SERVER else count * lane
        rows = min(batch, USUAL_BATCH) if self.era == RUNNERS and not self.own_engine else batch
        scratch = scratch_bytes(self.model, rows, span, self.flash_attention)
        wanted = demand(self.model, self.weight_bits, self.kv_bytes, count, lane, scratch)
        return _Slots(count, batch, wanted, split(wanted, self.rooms).on_gpu > self.model.layers)

    def _lane(self, count: int) -> int:
        """Cells of a slot: upstream's server rounds them up."""
        return split_context(self.num_ctx * count, count) if self.era == LLAMA_SERVER else self.num_ctx

    def _batch(self, count: int) -> int:
        if "num_batch" in self.asked:
            batch: int = self.asked["num_batch"]
            return batch
        if self.era != LLAMA_SERVER:
            return USUAL_BATCH
        file_bytes = round(self.model.parameters * self.weight_bits / 8)
        free = sum(usable_bytes(gpu, 0) for gpu in self.gpus)
        context = self.num_ctx * count
        return automatic_batch(self.gpus, self.model, context, file_bytes, free, self.flash_attention)

    # -- memory

    def _place(self, host: Host) -> MemoryPlan:
        wanted = self.slots.demand
        if "num_gpu" in self.asked:
            # the layers are asked for: nothing is left free on their account
            rooms = tuple(usable_bytes(gpu, 0) for gpu in self.gpus)
            chosen = forced_split(wanted, rooms, self.asked["num_gpu"])
        else:
            chosen = split(wanted, self.rooms)
        return plan(wanted, chosen, self.slots.count, self._lane(self.slots.count), host, self.gpus)

    def _spill_advice(self) -> str:
        fact = (
            f"{self.memory.layers_on_host} of {self.model.layers + 1} layers are on the CPU: every step is slower, "
            "with one user too"
        )
        low, high = 0, min(self.slots.count, MOST_SLOTS_ADVISED)  # `low` fits, `high` does not
        while high - low > 1:
            count = (low + high) // 2
            low, high = (count, high) if self._with_slots(count).fits else (low, count)
        if low:
            return f"{fact}; --num-parallel {low} fits"
        shorter = self.num_ctx // 2
        while shorter >= 512 and not self._fits_with_context(shorter):
            shorter //= 2
        if shorter >= 512:
            return f"{fact}; --num-parallel 1 --num-ctx {shorter} fits"
        missing = self._with_slots(1).demand.whole_bytes - max(self.rooms)
        return f"{fact}; one slot needs {missing / GIB:.1f} GiB more video memory: a smaller --weights format may fit"

    def _fits_with_context(self, num_ctx: int) -> bool:
        kept, self.num_ctx = self.num_ctx, num_ctx
        fits = self._with_slots(1).fits
        self.num_ctx = kept
        return fits

    # -- what runs

    def settled(self) -> dict[str, Any]:
        """Every option's value."""
        settled: dict[str, Any] = {
            "num_parallel": self.slots.count,
            "num_ctx": self.num_ctx,
            "num_batch": self.slots.batch,
            "max_queue": self.asked.get("max_queue", self.release.max_queue),
            "num_gpu": self.model.layers + 1 - self.memory.layers_on_host,
            "kv_cache_type": self.kv_type,
            "flash_attention": self.flash_attention,
            "cold": self.asked.get("cold", False),
        }
        if self.era == RUNNERS:
            settled |= {"new_engine": self.own_engine, "context_shift": self.asked.get("context_shift", True)}
        if self.era != FORK:
            settled |= {"truncate": self.asked.get("truncate", True)}
        return settled

    def traits(self) -> Traits:
        """What the step time depends on besides the batch."""
        return Traits(
            kernels="llama.cpp",
            weights=self.weights,
            weight_bits=self.weight_bits,
            kv_bytes_per_element=self.kv_bytes,
            overlaps_host=self._looks_ahead,
            unified_cells=self.era != LLAMA_SERVER,
        )

    @property
    def _looks_ahead(self) -> bool:
        return bool(self.own_engine and self.release.lookahead)

    def scheduler(self) -> Scheduler:
        """The runner of the version, the newer one for the families that have it."""
        batch, truncate = self.slots.batch, self.asked.get("truncate", True)
        shift = self.asked.get("context_shift", True)
        if self.own_engine:
            return OllamaRunner(batch, shift, truncate, lookahead=self._looks_ahead)
        if self.era == RUNNERS:
            return LlamaRunner(batch, shift, truncate, n_ubatch=min(batch, USUAL_BATCH))
        if self.era == FORK:
            return OllamaSlots(n_batch=batch, n_ubatch=batch, slot_prompt_similarity=OLD_PROMPT_SIMILARITY)
        cell_bytes = self.model.kv_bytes_per_token(self.kv_bytes)
        return OllamaSlots(
            n_batch=batch,
            n_ubatch=batch,
            cache_ram_tokens=PROMPT_CACHE_BYTES // cell_bytes,
            kv_bytes_per_token=cell_bytes,
            truncate=truncate,
        )

    def cache(self) -> Callable[[], KVCache]:
        """The cells of all slots, empty."""
        count, lane = self.slots.count, self._lane(self.slots.count)
        if self.era == LLAMA_SERVER:
            return partial(SlotCache, count, lane)
        if self.era == RUNNERS:
            return partial(OllamaCells, count, lane)
        return partial(UnifiedCache, count, count * lane, lane)

    def door(self) -> Door:
        """One permit a slot; the queue is bounded only while the model is loaded."""
        cold = self.asked.get("cold", False)
        file_bytes = self.memory.weight_bytes + self.memory.host_weight_bytes
        rate = min(DISK_BYTES_S, *[gpu.pcie_gbs * 1e9 for gpu in self.gpus])
        return Door(
            permits=self.slots.count,
            load_s=file_bytes / rate if cold else 0.0,
            pending_limit=self.asked.get("max_queue", self.release.max_queue),
            waits_inside=self.era != LLAMA_SERVER,
        )
