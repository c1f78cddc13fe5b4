"""Where llama.cpp and Ollama put a model: layers with keys and values on the GPUs as long as they fit, the rest behind.

    a GPU holds   compute buffer + some layers, each with its cells for all slots; the output layer is the last to go
    the host has  the other layers with their cells, and the embedding table, which is looked up and never multiplied

Weights and cells are spread evenly over the layers, those with experts or windows too. All of this is reserved when the
model is loaded, full or empty.
"""

from dataclasses import dataclass

from policies.engines.gguf_cells import Cells
from sim.engine import MemoryPlan
from sim.errors import DoesNotFit
from sim.hardware import GIB, MIB, Gpu, Host, Model

# What a CUDA context takes, by Ollama's own estimate (ml/device.go, v0.24.0); 512 MiB on Metal.
CONTEXT_BYTES = 457 * MIB
METAL_CONTEXT_BYTES = 512 * MIB
# What llama-server leaves free on each card when it chooses the layers itself (common.h, b8901).
FIT_MARGIN_BYTES = GIB
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """What a model with all its slots takes."""

    layers: int
    layer_bytes: int  # weights of one layer
    cell_bytes: int  # keys and values of one layer, all slots
    output_bytes: int  # the output layer
    scratch_bytes: int  # compute buffer of each GPU in use

    @property
    def whole_bytes(self) -> int:
        """On one GPU that takes everything."""
        return self.layers * (self.layer_bytes + self.cell_bytes) + self.output_bytes + self.scratch_bytes


@dataclass(frozen=True, slots=True)
class Split:
    """Layers on the GPUs, the output layer counted as the last one, and how many GPUs that takes."""

    on_gpu: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Words:
    """How an engine tells that a model does not fit."""

    refusal: str
    layers: str  # its option for layers on the GPUs
    advice: str


def demand(model: Model, weight_bits: float, kv_bytes: float, cells: Cells, scratch_bytes: int) -> Demand:
    """The bytes of a model in a format with so many cells; `kv_bytes` is those of one of their elements."""
    table = round(model.vocab * model.hidden * weight_bits / 8)
    body = round(model.parameters * weight_bits / 8) - table * (1 if model.tied_embeddings else 2)
    kept = cells.kv_bytes(model, kv_bytes)
    return Demand(model.layers, -(-body // model.layers), -(-kept // model.layers), table, scratch_bytes)


def scratch_bytes(model: Model, rows: int, span: int, flash_attention: bool) -> int:
    """The compute buffer: the larger of a batch's logits and its attention scores, and the hidden state.

    llama.cpp logs 258.5 MiB for 512 rows of Llama 3 8B: 250.5 of logits and 8 of hidden state.
    """
    logits = rows * model.vocab
    scores = 0 if flash_attention else rows * span * model.heads
    return FLOAT_BYTES * (max(logits, scores) + rows * model.hidden)


def usable_bytes(gpu: Gpu, margin_bytes: int) -> int:
    """What a card has for the model."""
    context = METAL_CONTEXT_BYTES if gpu.vendor == "apple" else CONTEXT_BYTES
    return max(0, gpu.memory_bytes - context - margin_bytes)


def split(wanted: Demand, rooms: tuple[int, ...]) -> Split:
    """All on the roomiest GPU if it fits there; else over all GPUs, as many layers as they hold."""
    if max(rooms, default=0) >= wanted.whole_bytes:
        return Split(wanted.layers + 1, 1)
    one = wanted.layer_bytes + wanted.cell_bytes
    held = [max(0, room - wanted.scratch_bytes) for room in rooms]
    layers = sum(room // one for room in held)
    if layers >= wanted.layers and sum(held) >= wanted.layers * one + wanted.output_bytes:
        return Split(wanted.layers + 1, len(rooms))
    return Split(min(layers, wanted.layers), len(rooms))


def forced_split(wanted: Demand, rooms: tuple[int, ...], layers: int, words: Words) -> Split:
    """As many layers on the GPUs as asked for; more than they hold is an error at load."""
    layers = min(layers, wanted.layers + 1)
    most = split(wanted, rooms).on_gpu
    if layers <= most:
        whole_on_one = layers * (wanted.layer_bytes + wanted.cell_bytes) + wanted.scratch_bytes <= max(rooms, default=0)
        return Split(layers, 1 if whole_on_one else len(rooms))
    needed = wanted.scratch_bytes * len(rooms) + wanted.output_bytes * (layers > wanted.layers)
    needed += min(layers, wanted.layers) * (wanted.layer_bytes + wanted.cell_bytes)
    raise DoesNotFit(
        f"{words.refusal}: {words.layers} {layers} takes {_gib(needed)} of video memory, {_gib(sum(rooms))} are free; "
        f"{most} layers fit, and without {words.layers} the rest goes to the host",
        max(1, needed - sum(rooms)),
    )


def plan(
    wanted: Demand, chosen: Split, slots: int, lane: int, host: Host, gpus: tuple[Gpu, ...], words: Words
) -> MemoryPlan:
    """The reservation at load; raises DoesNotFit when the host cannot hold what is left to it."""
    layers = min(chosen.on_gpu, wanted.layers)
    output_on_gpu = chosen.on_gpu > wanted.layers
    memory = MemoryPlan(
        weight_bytes=layers * wanted.layer_bytes + output_on_gpu * wanted.output_bytes,
        kv_bytes=layers * wanted.cell_bytes,
        scratch_bytes=wanted.scratch_bytes * chosen.gpus,
        kv_tokens=slots * lane,
        context=lane,
        slots=slots,
        layers_on_host=wanted.layers + 1 - chosen.on_gpu,
        host_weight_bytes=(wanted.layers - layers) * wanted.layer_bytes + (not output_on_gpu) * wanted.output_bytes,
        host_kv_bytes=(wanted.layers - layers) * wanted.cell_bytes,
    )
    on_gpu = memory.weight_bytes + memory.kv_bytes + memory.scratch_bytes
    shared = on_gpu if gpus[0].memory_class == "unified" else 0  # one memory for both
    missing = memory.host_weight_bytes + memory.host_kv_bytes + shared - host.ram_bytes
    if missing > 0:
        raise DoesNotFit(
            f"{words.refusal}: weights and {slots * lane} cells take {_gib(wanted.whole_bytes)}, more than GPU and "
            f"host hold together; {_gib(missing)} missing; {words.advice}",
            missing,
        )
    return memory


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
