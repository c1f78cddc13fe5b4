"""One start of llama.cpp's server, decided step by step: slots, context, where the layers go, what the user is told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from policies.caches.slots import SPAN_STEP, padded, split_context
from policies.engines.gguf_cells import Cells, upstream, whole
from policies.engines.gguf_memory import (
    FIT_MARGIN_BYTES,
    Demand,
    Split,
    Words,
    demand,
    forced_split,
    plan,
    scratch_bytes,
    split,
    usable_bytes,
)
from policies.engines.llama_options import KV_BYTES, RELEASES, VERSIONS, Defaults, defaults_of, kv_type, read_options
from sim.engine import MemoryPlan
from sim.errors import UsageError
from sim.hardware import Gpu, Host, Model

DEFAULT_WEIGHTS = "q4_k_m"
AUTO_SLOTS = 4
OLD_CONTEXT = 4096  # unless told otherwise, before the context was fitted to the memory
LEAST_FITTED_CONTEXT = 4096
WORDS = Words(
    "llama.cpp would not start", "n_gpu_layers", "a shorter context (--ctx-size) or a smaller model would fit"
)


@dataclass(frozen=True, slots=True)
class Division:
    """How a context is divided among the slots."""

    slots: int
    lane: int  # the longest context of one request
    total: int  # cells of all slots together
    unified: bool


class Launch:
    """The decisions of one start, in their order."""

    def __init__(self, gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> None:
        self.gpus, self.model = gpus, model
        self.version = str(options.get("version") or VERSIONS[-1])
        self.defaults: Defaults = defaults_of(self.version)
        self.asked = read_options(options)
        self.weights = str(options.get("weights") or DEFAULT_WEIGHTS).lower()
        if options.get("weight_bits") is None:
            raise UsageError(f"weights '{self.weights}' need weight_bits, the bits of a parameter")
        self.bits = float(options["weight_bits"])
        self.kv_type = kv_type(self.asked, options)
        self.warnings = [*RELEASES.warnings(self.version)]
        self._settle_slots()
        self.ubatch = min(self.asked.get("batch_size", 2048), self.asked.get("ubatch_size", 512))
        self.fits_layers = self.asked.get("n_gpu_layers") is None
        self.cells = self._settle_context()
        self.batch = min(self.asked.get("batch_size", 2048), self.cells.total)
        if self.slots > self.batch:
            raise UsageError(f"llama.cpp: {self.slots} slots (--parallel) need a batch_size of as many tokens")
        self.split = self._settle_layers()
        self.memory = self._place(host)
        if self.memory.layers_on_host:
            self.warnings.append(
                f"{self.memory.layers_on_host} of {model.layers + 1} layers are on the host: every step is slower"
            )

    # -- slots and context

    def _settle_slots(self) -> None:
        parallel = self.asked.get("parallel", self.defaults.parallel)
        if parallel == -1 and self.defaults.parallel != -1:
            raise UsageError(f"llama.cpp {self.version} has no automatic number of slots: give --parallel")
        self.slots = AUTO_SLOTS if parallel == -1 else parallel
        self.unified = self.asked.get("kv_unified", parallel == -1) or self.defaults.always_unified

    def _settle_context(self) -> Division:
        """What was asked for, whatever it costs; else the model's context, or as much of it as the GPUs hold."""
        asked = self.asked.get("ctx_size") or 0
        if asked:
            return self._divide(asked)
        if not self.defaults.fits_context:
            given = "ctx_size" in self.asked
            return self._divide(self.model.max_context if given else min(OLD_CONTEXT, self.model.max_context))
        whole = self.model.max_context
        least = min(LEAST_FITTED_CONTEXT, whole)
        fitting = self._largest_fitting(least, whole)
        if fitting < whole:
            self.warnings.append(f"ctx_size fitted to the memory: {fitting} of the model's {whole} tokens")
        return self._divide(fitting)

    def _largest_fitting(self, least: int, whole: int) -> int:
        """The longest context beside which every layer fits; the least where even that one takes layers away."""
        if self._all_fits(whole):
            return whole
        low, high = least // SPAN_STEP, whole // SPAN_STEP
        while high - low > 1:
            middle = (low + high) // 2
            if self._all_fits(middle * SPAN_STEP):
                low = middle
            else:
                high = middle
        return max(least, low * SPAN_STEP)

    def _all_fits(self, n_ctx: int) -> bool:
        return split(self._demand(self._divide(n_ctx)), self._rooms()).on_gpu > self.model.layers

    def _divide(self, n_ctx: int) -> Division:
        most = self.model.max_context
        if self.unified:
            total = padded(n_ctx)
            lane = total // self.slots if self.defaults.always_unified else total
            return Division(self.slots, min(lane, most), total, unified=True)
        lane = split_context(n_ctx, self.slots)
        return Division(self.slots, min(lane, most), lane * self.slots, unified=False)

    # -- memory

    def _rooms(self) -> tuple[int, ...]:
        """What the cards have; whoever lets the server choose leaves its margin free."""
        chooses = self.defaults.fits_context and (self.fits_layers or not self.asked.get("ctx_size"))
        return tuple(usable_bytes(gpu, FIT_MARGIN_BYTES if chooses else 0) for gpu in self.gpus)

    def _demand(self, cells: Division) -> Demand:
        scratch = scratch_bytes(self.model, self.ubatch, cells.lane, flash_attention=True)
        return demand(self.model, self.bits, KV_BYTES[self.kv_type], self._reserved(cells), scratch)

    def _reserved(self, cells: Division) -> Cells:
        """Builds with separate streams also bound what a window keeps."""
        if self.defaults.always_unified:
            return whole(cells.total)
        lane = cells.total if cells.unified else cells.total // cells.slots
        return upstream(self.model, cells.slots, lane, self.ubatch, shared=cells.unified)

    def _settle_layers(self) -> Split:
        """As many layers as fit, or those asked for."""
        wanted, rooms = self._demand(self.cells), self._rooms()
        if self.fits_layers:
            return split(wanted, rooms)
        return forced_split(wanted, rooms, self.asked["n_gpu_layers"], WORDS)

    def _place(self, host: Host) -> MemoryPlan:
        cells = self.cells
        memory = plan(self._demand(cells), self.split, 1, cells.total, host, self.gpus, WORDS)
        return replace(memory, context=cells.lane, slots=cells.slots)
