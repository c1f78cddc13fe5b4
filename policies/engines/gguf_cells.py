"""How many cells a start reserves: one a token of context in every layer, fewer in layers with a window."""

from dataclasses import dataclass

from policies.caches.slots import padded
from sim.hardware import Model

# Families whose window the engines do not use: they keep every token, whatever the model's authors say.
WINDOW_IGNORED = frozenset({"llama", "mistral", "mistral3", "phi3", "qwen2"})


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of all slots together, in the two kinds of layers."""

    full: int
    limited: int  # in layers with a window; equal to `full` where it is not used

    def kv_bytes(self, model: Model, bytes_per_element: float) -> int:
        """Keys and values of all layers."""
        layer = model.kv_bytes_per_token(bytes_per_element) / model.layers
        return round(layer * ((model.layers - model.window_layers) * self.full + model.window_layers * self.limited))


def whole(cells: int) -> Cells:
    """Windows are not used."""
    return Cells(cells, cells)


def upstream(model: Model, slots: int, lane: int, ubatch: int, *, shared: bool) -> Cells:
    """llama.cpp: a stream keeps the window and a pass of new tokens beside it; a shared pool is one stream.

    `lane` is the context of a slot, or of the whole pool where it is shared.
    """
    streams, windows = (1, slots) if shared else (slots, 1)
    if not uses_window(model):
        return whole(lane * streams)
    if model.keeps_state:
        return Cells(lane * streams, min(lane * streams, model.window * slots))
    limited = padded(min(lane, model.window * windows + ubatch))
    return Cells(lane * streams, limited * streams)


def own_engine(model: Model, slots: int, lane: int, batch: int) -> Cells:
    """Ollama's own engine: all windows, one cell more each when there are several, and one batch in a shared array."""
    if not uses_window(model):
        return whole(lane * slots)
    window = model.window + (1 if slots > 1 else 0)
    return Cells(lane * slots, min(lane * slots, padded(slots * window + batch)))


def uses_window(model: Model) -> bool:
    """Whether these engines forget what a window has passed."""
    return model.window > 0 and model.family not in WINDOW_IGNORED
