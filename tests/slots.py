"""Slots against video memory, model by model: what one source measured beside what comes out here; printed or written.

No number here was chosen to come closer to a measurement, and no profile has seen the source.
"""

import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

from calibration import catalog, physics, profile, sources
from calibration.points import Point
from calibration.profile import Profile
from sim import compose
from sim.clock import PS_PER_S
from sim.hardware import GIB
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.variant import Variant
from tests.bursts import SameAgain
from tests.pages import print_or_write

PAGE = Path(__file__).parents[1] / "docs" / "slots.md"
SOURCE = "check-parallels"
VERSION = "0.6.6"  # of those days, as its defaults say too: 2,048 tokens a slot
# What Windows leaves of 16 GiB: the middle of two logs of Ollama, 14.9 (RX 7900 GRE) and 13.9 (RTX 4090 Laptop).
FREE_GIB = 14.4
COLLAPSED = 0.75  # of the best rate of a burst of two; fewer slots than two are slower for another reason
PAIR = 2
ANOTHER_MODEL = "DeepSeek"  # rows of another model under the same name


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of slots: tok/s by the size of the burst, and what the requests were."""

    model: str
    weights: str
    slots: int
    tok_s: dict[int, float]
    prompt_tokens: int
    output_tokens: int

    @property
    def best(self) -> float:
        """Tok/s of the best burst."""
        return max(self.tok_s.values())


@dataclass(frozen=True, slots=True)
class Simulated:
    """The same here."""

    layers_on_host: int
    tok_s: dict[int, float]

    @property
    def best(self) -> float:
        """Tok/s of the best burst."""
        return max(self.tok_s.values())


@dataclass(frozen=True, slots=True)
class Told:
    """A model's whole grid."""

    model: str
    grid: tuple[int, ...]
    safe: int  # the most slots before the collapse, as measured
    simulated_safe: int  # the most on the grid with all layers on the card
    fits: int  # the most off the grid too
    below: tuple[float, ...]  # simulated over measured, of the best bursts
    above: tuple[float, ...]

    @property
    def steps_apart(self) -> int:
        """How many steps of the grid lie between the two counts."""
        return abs(self.grid.index(self.safe) - self.grid.index(self.simulated_safe))


@cache
def measured() -> dict[str, tuple[Measured, ...]]:
    """The source's rows, by model and number of slots."""
    rows = [row for row in sources.load(SOURCE) if ANOTHER_MODEL not in row.notes]
    return {
        model: tuple(_measured([row for row in rows if (row.model, row.slots) == (model, slots)]) for slots in grid)
        for model in sorted({row.model for row in rows})
        for grid in [sorted({row.slots for row in rows if row.model == model and row.slots})]
    }


def _measured(rows: list[Point]) -> Measured:
    first, rates = rows[0], {round(row.load_value): row.output_tps or 0.0 for row in rows}
    outputs = [row.output_tokens or 0.0 for row in rows]
    weights, prompt = first.weights, round((first.depth_tokens or 0) + (first.prompt_tokens or 0))
    return Measured(first.model, weights, first.slots or 0, rates, prompt, round(statistics.mean(outputs)))


def variant(model: str, weights: str, slots: int) -> Variant:
    """Ollama with its defaults, on what Windows leaves of the card."""
    options, free = {"num_parallel": slots}, round(FREE_GIB * GIB)
    return Variant(
        "slots", "ollama", "rtx-4060-ti-16g", model, VERSION, options, weights, vram_bytes=free, host="desktop-ddr4"
    )


@cache
def simulated(model: str, slots: int) -> Simulated:
    """The source's bursts with the shipped profile."""
    return played(model, slots, profile.load("measured"))


def played(model: str, slots: int, found: Profile) -> Simulated:
    """The source's bursts of one and the same prompt, one after the other, on a server that stays up."""
    one = next(one for one in measured()[model] if one.slots == slots)
    put = variant(model, one.weights, slots)
    deployment = compose.deploy(put)
    sizes = (1, *sorted(one.tok_s))
    load = SameAgain(sizes, one.prompt_tokens, one.output_tokens)
    cost = physics.step_cost(deployment, found)
    log = simulate(Scenario(deployment, cost, load, compose.router(put.router))).requests
    rates: dict[int, float] = {}
    for size, end in zip(sizes, accumulate(sizes), strict=True):
        own = (log["id"] >= end - size) & (log["id"] < end)
        lasted_s = int(log["end_ps"][own].max() - log["arrival_ps"][own].min()) / PS_PER_S
        rates[size] = int(log["output_tokens"][own].sum()) / lasted_s
    return Simulated(deployment.memory.layers_on_host, {size: rates[size] for size in one.tok_s})


def tell(model: str, simulated: Callable[[str, int], Simulated] = simulated) -> Told:
    """A model's grid, told."""
    rows = measured()[model]
    best_pair = max(one.tok_s[PAIR] for one in rows)
    safe = max(one.slots for one in rows if one.tok_s[PAIR] > COLLAPSED * best_pair)
    fitting = [one.slots for one in rows if not simulated(model, one.slots).layers_on_host]

    def ratios(chosen: Callable[[int], bool]) -> tuple[float, ...]:
        return tuple(simulated(model, one.slots).best / one.best for one in rows if chosen(one.slots))

    below = ratios(lambda slots: slots <= min(safe, max(fitting)))
    above = ratios(lambda slots: slots > max(safe, *fitting))
    return Told(
        model, tuple(one.slots for one in rows), safe, max(fitting), _fits(model, rows[0].weights), below, above
    )


def _fits(model: str, weights: str) -> int:
    """The most slots with all layers on the card."""
    low, high = 1, 100
    while high - low > 1:
        middle = (low + high) // 2
        spilled = compose.deploy(variant(model, weights, middle)).memory.layers_on_host
        low, high = (low, middle) if spilled else (middle, high)
    return low


# -- the page


def page() -> str:
    """The whole page."""
    told = [tell(model) for model in measured()]
    return TEXT.format(
        table="\n".join(map(_row, told)),
        grids="\n".join(f"\n### {catalog.model(one.model).name}\n\n{_grid(one.model)}" for one in told),
        free=FREE_GIB,
        version=VERSION,
    )


def _row(one: Told) -> str:
    beyond = next((slots for slots in one.grid if slots > one.safe), None)
    name = catalog.model(one.model).name
    counts = f"{one.safe} | {beyond or 'none seen'} | {one.fits} ({one.simulated_safe}) | {one.steps_apart}"
    return f"| {name} | {counts} | {_percent(one.below)} | {_factors(one.above)} |"


def _percent(ratios: Iterable[float]) -> str:
    errors = sorted(100 * (ratio - 1) for ratio in ratios)
    return f"{statistics.median(errors):+.0f}% ({errors[0]:+.0f} to {errors[-1]:+.0f})"


def _factors(ratios: Iterable[float]) -> str:
    found = sorted(ratios)
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})" if found else "-"


def _grid(model: str) -> str:
    sizes = sorted({size for one in measured()[model] for size in one.tok_s})
    head = f"| slots | layers on the host | {' | '.join(f'burst of {size}' for size in sizes)} |"
    lines = [head, "|" + "--|" * (len(sizes) + 2)]
    for one in measured()[model]:
        ours = simulated(model, one.slots)
        cells = [
            f"{one.tok_s[size]:.0f} · {ours.tok_s[size]:.0f}" if size in one.tok_s else ""  # not measured
            for size in sizes
        ]
        lines.append(f"| {one.slots} | {ours.layers_on_host} | {' | '.join(cells)} |")
    return "\n".join(lines)


TEXT = """# Slots and video memory: measured, simulated

How many slots a card holds, how fast they are, and what happens beyond. Measured: RTX 4060 Ti 16 GB, Windows 11,
Ollama, bursts of one and the same prompt of about 330 tokens with answers of about 210
(github.com/nicolay-i/check_parallels at a5a5a1b, 26 April to 2 May 2025). No profile has seen this source.
`tests/test_slots.py` holds the simulator to what is said here, and `python -m tests.slots --write` makes this page.

| model | safe, measured | collapsed | fit here (on the grid) | steps apart | best burst below: error | above: factor |
|--|--|--|--|--|--|--|
{table}

*Safe* is the last number of slots whose burst of two still reaches three quarters of the best. *Below* compares the
best burst of each number of slots that is safe here and there (median, least and most), *above* that of those that are
beyond both, simulated over measured. Measured rates of one number of slots and the next differ by up to a third where
nothing tells them apart (Gemma 3 4B at 24 and 30 slots), and the extremes of *below* hold that too.

What the source does not state, and how it is settled:

* **Release {version}, 2,048 tokens a slot, no flash attention.** It is the release of those days, and the first with
  qwen3; its default is 2,048. The qwen3:1.7b of this table confirms it: 36 slots of 4,096 would not have fitted at all.
* **Layers leave the card by what that release reckons**, not by what they take: its sum gives a model of a family that
  it does not know, such as qwen3, another sixth of its cells for each head that shares a key. Weights and cells of 22
  slots of qwen3:8b are 10.9 GiB; reckoned are 15.7.
* **{free} GiB of the card are free**: Windows and what runs on it keep the rest. Two logs of Ollama on 16 GiB cards say
  14.9 and 13.9; this is the middle. With 14.2 every qwen3 would fall on the very step of the grid where it fell.
* **CPU and RAM**: desktop-ddr4, two channels. Nothing is known of them.

What is off, and why as far as it is known:

* **Gemma 3 12B** collapses at 6 slots, three before it does here. On that day less memory may have been free, or its
  engine took more than it reckoned; at 6 slots every step is 20 ms longer, what the head takes on a CPU.
* **Small models are too fast here**, by a fifth and more: what every row of a step takes beyond the passes comes to
  some 2 ms there, whatever the model, and a step of several rows to some 2 ms more. Choosing one of 151,936 tokens was
  timed at 0.15 to 0.6 ms on a fast processor, and 1.3 ms are assumed (`calibration/sampling.py`); launches take longer
  under Windows than on the Linux servers that the profile was fitted to. Once six models' bursts on this machine are
  calibrated with, the seventh is within a fifth, whichever it is: [own-machine.md](own-machine.md).
* **Beyond the memory large bursts are too fast**, by about a factor of two: layers on the host compute all rows of a
  step there, and how fast that CPU is nobody said. Bursts of two, for which they only read, come out right.

## Every burst

Tok/s of the whole burst, measured · simulated.
{grids}
"""


if __name__ == "__main__":
    sys.exit(print_or_write(page(), PAGE, sys.argv[1:]))
