"""One start of Ollama, decided step by step: settings, slots, where the layers go, and what the user is told."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from policies.caches.slots import split_context
from policies.engines.gguf_cells import Cells, own_engine, upstream, whole
from policies.engines.gguf_memory import (
    FIT_MARGIN_BYTES,
    Demand,
    Words,
    demand,
    forced_split,
    plan,
    scratch_bytes,
    split,
    usable_bytes,
)
from policies.engines.ollama_defaults import (
    LEAST_CONTEXT,
    LLAMA_SERVER,
    RELEASES,
    RUNNERS,
    SERIAL_FAMILIES,
    UNSHIFTED_FAMILIES,
    USUAL_BATCH,
    Release,
    automatic_batch,
    default_context,
)
from policies.engines.ollama_estimate import LAST_BY_SUMS, RECKONED_KV_BYTES, reserve_bytes
from policies.engines.ollama_options import KV_BYTES, UPSTREAM_KV_BYTES, kv_type, read_options
from sim.engine import MemoryPlan
from sim.errors import UsageError
from sim.hardware import GIB, Gpu, Host, Model

VERSIONS: tuple[str, ...] = tuple(RELEASES.listed)
DEFAULT_WEIGHTS = "q4_k_m"
# Q4_K_M of Llama 3.1 8B, for callers that name no format.
DEFAULT_WEIGHT_BITS = 4.8944
SHORTEST_ADVISED = 512
WORDS = Words(
    "Ollama would not load",
    "num_gpu",
    "fewer slots (--num-parallel), a shorter context (--num-ctx) or a smaller model would fit",
)


@dataclass(frozen=True, slots=True)
class Slots:
    """A number of slots with what follows from it."""

    count: int
    batch: int
    demand: Demand
    reckoned: Demand  # what decides where the layers go
    fits: bool  # all of it on the GPUs


class Launch:
    """One start of the server, decided step by step."""

    def __init__(self, gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> None:
        self.gpus, self.model = gpus, model
        self.version = str(options.get("version") or VERSIONS[-1]).lower().removeprefix("v")
        self.release: Release = RELEASES.of(self.version)
        self.asked = read_options(options, self.version)
        self.warnings = [*RELEASES.warnings(self.version)]
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
        margin += self.asked.get("gpu_overhead", 0)
        self.rooms = tuple(usable_bytes(gpu, margin) for gpu in gpus)
        self.slots = self._settle_slots()
        if self.slots.batch < self.slots.count and self.era != RUNNERS:
            raise UsageError(
                f"num_batch {self.slots.batch} is less than {self.slots.count} slots, and each needs a token of a step"
            )
        self.memory = self._place(host)
        if self.memory.layers_on_host and "num_gpu" not in self.asked:
            self.warnings.append(self._spill_advice())

    @property
    def looks_ahead(self) -> bool:
        """Whether the next step is built while one computes."""
        return bool(self.own_engine and self.release.lookahead)

    # -- settings

    @property
    def context_shift(self) -> bool:
        """Whether a full slot drops half of its context and goes on."""
        usual = self.era != LLAMA_SERVER or self.model.family not in UNSHIFTED_FAMILIES
        return bool(self.asked.get("context_shift", usual))

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

    def _settle_slots(self) -> Slots:
        """Slots as asked for, or the first number of the release's that fits on one GPU, or else on all of them."""
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
        on_one = (slots for slots in tried if slots.reckoned.whole_bytes <= max(self.rooms))
        on_all = (slots for slots in tried if slots.fits)
        chosen = next(chain(on_one, on_all), tried[-1])
        if chosen is not tried[0]:
            self.warnings.append(self._one_slot_advice(tried[0]))
        return chosen

    def _one_slot_advice(self, more: Slots) -> str:
        fact = f"{more.count} slots of {self.num_ctx} tokens do not fit"
        means = "so there is one: requests are served one after the other"
        if more.fits:
            return f"{fact} on one GPU, {means}; --num-parallel {more.count} takes {len(self.gpus)} GPUs"
        return f"{fact}, {means}; --num-parallel {more.count} with a smaller --num-ctx fits"

    def _with_slots(self, count: int) -> Slots:
        batch = self._batch(count)
        lane = self.lane(count)
        span = lane if self.era == LLAMA_SERVER else count * lane
        rows = min(batch, USUAL_BATCH) if self.era == RUNNERS and not self.own_engine else batch
        scratch = scratch_bytes(self.model, rows, span, self.flash_attention)
        scratch += self.model.vision_bytes
        cells = self._cells(count, lane, batch)
        wanted = demand(self.model, self.weight_bits, self.kv_bytes, cells, scratch)
        reckoned = self._reckoned(wanted, cells, count * lane, min(batch, self.num_ctx))
        return Slots(count, batch, wanted, reckoned, split(reckoned, self.rooms).on_gpu > self.model.layers)

    def _reckoned(self, wanted: Demand, reserved: Cells, cells: int, batch: int) -> Demand:
        """The demand as this release takes it to be when it places the layers."""
        measured = self.own_engine and RELEASES.number(self.version) > LAST_BY_SUMS
        if self.era == LLAMA_SERVER or measured:
            return wanted
        wanted = demand(self.model, self.weight_bits, RECKONED_KV_BYTES[self.kv_type], reserved, 0)
        layer_bytes, kv_bytes = wanted.layer_bytes + wanted.cell_bytes, wanted.layers * wanted.cell_bytes
        reserve = reserve_bytes(self.model, cells, kv_bytes, batch, layer_bytes)
        reserve += self.model.vision_bytes
        return replace(wanted, scratch_bytes=reserve)

    def _cells(self, count: int, lane: int, batch: int) -> Cells:
        """What is reserved for so many slots; of the runners, only Ollama's own engine bounds it by windows."""
        if self.era == LLAMA_SERVER:
            return upstream(self.model, count, lane, batch, shared=False)
        return own_engine(self.model, count, lane, batch) if self.own_engine else whole(count * lane)

    def lane(self, count: int) -> int:
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
            chosen = forced_split(wanted, rooms, self.asked["num_gpu"], WORDS)
        else:
            chosen = split(self.slots.reckoned, self.rooms)
        return plan(wanted, chosen, self.slots.count, self.lane(self.slots.count), host, self.gpus, WORDS)

    def _spill_advice(self) -> str:
        fact = (
            f"{self.memory.layers_on_host} of {self.model.layers + 1} layers are on the CPU: every step is slower, "
            "with one user too"
        )
        low, high = 0, self.slots.count  # `low` fits, `high` does not
        while high - low > 1:
            count = (low + high) // 2
            low, high = (count, high) if self._with_slots(count).fits else (low, count)
        if low:
            return f"{fact}; --num-parallel {low} fits"
        shorter = self.num_ctx // 2
        while shorter >= SHORTEST_ADVISED and not self._fits_with_context(shorter):
            shorter //= 2
        if shorter >= SHORTEST_ADVISED:
            return f"{fact}; --num-parallel 1 --num-ctx {shorter} fits"
        missing = self._with_slots(1).reckoned.whole_bytes - max(self.rooms)
        return f"{fact}; one slot needs {missing / GIB:.1f} GiB more video memory: a smaller --weights format may fit"

    def _fits_with_context(self, num_ctx: int) -> bool:
        other = copy(self)
        other.num_ctx = num_ctx
        return other._with_slots(1).fits
