"""The figure of the real runs: requests running and tokens held, second by second, real beside simulated, as SVG."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sim.clock import PS_PER_S
from sim.journal import Columns
from sim.window import steps_ended
from tests.real_runs import NAMES, Reals, about, measured, replay, title

WIDTH, HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 290, 150, 46, 44, 62, 52
REAL, OURS, FRAME = "#4477AA", "#EE7733", "#858B93"
POINTS = 150  # of a line; more cannot be seen


class Panel(NamedTuple):
    """Lines over the seconds of a run."""

    title: str
    real: Reals
    ours: Reals


def running(name: str) -> Panel:
    """Requests that get their answers; of the real ones, those too whose prompt is under way."""
    ours = [strides["decodes"][place] for strides, place, _ in _at_seconds(name)]
    return Panel("requests running", measured(name, "ticks")["running"], np.array(ours, float))


def held(name: str) -> Panel:
    """KV cells in use, in thousands: by the server's gauge, or what its requests must have held by the log."""
    told, ticks = about(name), measured(name, "ticks")
    real = ticks["kv_percent"] / 100 * told["kv_tokens"] if "kv_tokens" in told else implied(name)
    how = "gauge" if "kv_tokens" in told else "by the log"
    ours = [
        strides["context"][place] + strides["decodes"][place] * steps_ended(strides, instant)[place]
        for strides, place, instant in _at_seconds(name)
    ]
    return Panel(f"thousand tokens held, real: {how}", real / 1000, np.array(ours) / 1000)


def _at_seconds(name: str) -> Iterator[tuple[Columns, int, int]]:
    """The simulated server's strides, and which of them was under way at the end of each second."""
    one = replay(name, about(name).get("blocks")).result
    strides = one.replicas[0].strides
    for instant in range(PS_PER_S, one.end_ps + 1, PS_PER_S):
        yield strides, int(np.searchsorted(strides["start_ps"], instant, "right")) - 1, instant


def implied(name: str) -> Reals:
    """Tokens of the requests that were answering at the end of each second."""
    log, instants = measured(name, "requests"), measured(name, "ticks")["t_s"][:, None]
    first = log["arrival_s"] + log["ttft_ms"] / 1000
    here = (first <= instants) & (log["arrival_s"] + log["e2e_ms"] / 1000 > instants)
    tokens: Reals = (here * (log["prompt_tokens"] + (instants - first) * 1000 / log["tpot_ms"])).sum(1)
    return tokens


def figure() -> str:
    """A column for each run."""
    width, height = LEFT + len(NAMES) * (WIDTH + GAP_X), TOP + 2 * (HEIGHT + GAP_Y)
    font = f'font-family="sans-serif" font-size="11" fill="{FRAME}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font}>',
        f'<text x="{LEFT}" y="14" fill="{REAL}">real</text><text x="{LEFT + 40}" y="14" fill="{OURS}">simulated</text>',
    ]
    for column, name in enumerate(NAMES):
        for row, panel in enumerate((running(name), held(name))):
            parts += drawn(panel, LEFT + column * (WIDTH + GAP_X), TOP + row * (HEIGHT + GAP_Y))
        parts.append(_text(LEFT + column * (WIDTH + GAP_X), TOP - 14, title(name)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def drawn(panel: Panel, x: int, y: int) -> list[str]:
    """A frame, its scale and both lines."""
    last = max(len(panel.real), len(panel.ours))
    top = float(max(panel.real.max(), panel.ours.max())) * 1.05
    return [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="{FRAME}" stroke-width="0.5"/>',
        _text(x - 5, y + 9, f"{top:.0f}", "end"),
        _text(x - 5, y + HEIGHT, "0", "end"),
        _text(x + WIDTH, y + HEIGHT + 13, f"{last} s", "end"),
        _text(x, y + HEIGHT + 13, panel.title),
        line(panel.real, x, y, last, top, REAL),
        line(panel.ours, x, y, last, top, OURS),
    ]


def line(values: Reals, x: int, y: int, last: int, top: float, colour: str) -> str:
    """One line, thinned to what can be seen."""
    every = -(-len(values) // POINTS)
    places: Sequence[int] = range(0, len(values), every)
    points = " ".join(
        f"{x + WIDTH * (place + 1) / last:.0f},{y + HEIGHT * (1 - values[place] / top):.0f}" for place in places
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'
