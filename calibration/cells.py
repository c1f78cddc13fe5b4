"""What reading the KV cells of a pass takes, in whole picoseconds, and how that grows while its rows decode.

Every row computes its attention to its cells. Those of its own it reads for itself; of shared ones a tile is read once
for all rows: the span is what memory gives, rows times span what the multipliers do. Layers with a window read no
further than it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from calibration.profile import HostRates
from calibration.terms import GIGA, NANO, RAGGED, TERA, Facts, Kernels, cell_prices, windowed_share
from sim.clock import ps
from sim.cost import FOREVER
from sim.engine import Deployment


class Prices(NamedTuple):
    """Of one cell: for every row that reads it and for all rows together; in full layers and in those with a window."""

    row_ps: int
    window_row_ps: int
    span_ps: int
    window_span_ps: int


@dataclass(frozen=True, slots=True)
class Cells:
    """The prices of one deployment's cells."""

    alone: Prices  # in passes of decodes only
    mixed: Prices  # in passes that carry prompts too
    attention_s: float  # one prompt row and one cell
    window: int
    shared: bool

    @property
    def windowed(self) -> bool:
        """Whether some layers see a window only, so that growth ends on the way."""
        return bool(self.alone.window_row_ps or self.alone.window_span_ps)

    def reading(self, rows: int, cells: int, more: int, *, mixed: bool) -> tuple[int, int, int]:
        """The cells' time, its growth from step to step, and for how many steps it grows so.

        Rows are taken to be equally long: all leave the window at once. Windows of shared cells lie in one array.
        """
        row_ps, window_row_ps, span_ps, window_span_ps = self.mixed if mixed else self.alone
        time, growth = cells * row_ps + cells // rows * span_ps, more * row_ps + more // rows * span_ps
        if not (window_row_ps or window_span_ps):
            return time, growth, FOREVER
        seen = rows * self.window * (rows if self.shared else 1)
        inside = cells if cells < seen else seen
        time += inside * window_row_ps + inside // rows * window_span_ps
        if cells >= seen:
            return time, growth, FOREVER
        growth += more * window_row_ps + more // rows * window_span_ps
        return time, growth, (seen - cells) // more + 1 if more else FOREVER


def cells_of(deployment: Deployment, kernels: Kernels, facts: Facts, rates: HostRates) -> Cells:
    """The prices for a deployment, the share of its cells that lies in the host's memory among them."""
    memory, host, model, traits = deployment.memory, deployment.host, deployment.model, deployment.traits
    on_host = memory.host_kv_bytes / ((memory.kv_bytes + memory.host_kv_bytes) or 1)
    longer = 1.0 if traits.even_contexts else RAGGED.get(traits.kernels, 1.0)
    reading, computing = (longer * price for price in cell_prices(kernels, facts))
    there = model.kv_bytes_per_token(traits.kv_bytes_per_element) / (host.ram_gbs * GIGA * rates.ram_efficiency)
    flops = 4 * model.heads * model.head_dim * model.layers
    computing_there = flops / (host.cpu_tflops * TERA * rates.cpu_efficiency)
    reading_s = (1 - on_host) * reading + on_host * there
    computing_s = (1 - on_host) * computing + on_host * computing_there
    windowed = windowed_share(facts)
    listing_s = kernels.host_cell_ns * NANO / host.single_thread
    alone = _prices(reading_s, computing_s + listing_s, windowed, shared=traits.unified_cells)
    slower = kernels.mixed_kv_efficiency
    mixed = _prices(reading_s / slower, computing_s / slower + listing_s, windowed, shared=traits.unified_cells)
    prompt_s = (1 - on_host) * facts.attention_cell_s / kernels.attention_flops_efficiency + on_host * computing_there
    return Cells(alone, mixed, prompt_s, int(facts.window), traits.unified_cells)


def _prices(reading_s: float, working_s: float, windowed: float, *, shared: bool) -> Prices:
    """Full layers and those with a window, by their share; every row works, shared cells are read once for all."""
    row_s, span_s = (working_s, reading_s) if shared else (working_s + reading_s, 0.0)
    return Prices(ps(row_s * (1 - windowed)), ps(row_s * windowed), ps(span_s * (1 - windowed)), ps(span_s * windowed))
