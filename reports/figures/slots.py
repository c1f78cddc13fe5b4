"""Slots over time: which request holds which slot, and who waits for one."""

from collections.abc import Iterable, Sequence
from typing import Any

from reports.closeup import Bar, BarKind, CloseUp
from reports.figures.canvas import Figure, figure
from reports.palette import PHASE_COLOURS

REQUESTS_IN_A_ROW = 6
WORDS: dict[BarKind, str] = {"queue": "waits", "prompt": "prompt", "decode": "answer"}


def draw(closeup: CloseUp) -> Figure:
    """A row for every slot; above them those who wait, each in the first row that is free."""
    rows = [*((_slot_name(bar.slot), bar) for bar in closeup.gantt if bar.slot is not None), *_waiting(closeup.gantt)]
    names = _in_order({name for name, _ in rows})
    data = [_trace(kind, [(name, bar) for name, bar in rows if bar.kind == kind]) for kind in WORDS]
    x = {"title": {"text": "seconds since the start of the run"}, "range": _in_view(closeup.gantt, len(names))}
    y = {"type": "category", "categoryorder": "array", "categoryarray": names, "showgrid": False}
    height = 130 + 22 * max(len(names), 4)
    return figure([trace for trace in data if trace["x"]], x, y, barmode="overlay", bargap=0.2, height=height)


def _slot_name(slot: int | None) -> str:
    return f"slot {slot}"


def _waiting(bars: Iterable[Bar]) -> list[tuple[str, Bar]]:
    """Who has no slot, row by row so that no two overlap."""
    free_from: list[float] = []
    placed = []
    for bar in sorted((bar for bar in bars if bar.slot is None), key=lambda bar: bar.start_s):
        row = next((row for row, until_s in enumerate(free_from) if until_s <= bar.start_s), len(free_from))
        free_from[row:] = [bar.end_s, *free_from[row + 1 :]]
        placed.append((f"waiting {row + 1}", bar))
    return placed


def _in_order(names: set[str]) -> list[str]:
    """From below to above: slots, then the rows of those who wait."""
    return sorted(names, key=lambda name: (name.startswith("waiting"), int(name.rpartition(" ")[2])))


def _in_view(bars: Sequence[Bar], rows: int) -> list[float] | None:
    """The middle of the stretch, short enough for single requests to be seen."""
    answers = sum(bar.kind == "decode" for bar in bars)
    if answers <= rows * REQUESTS_IN_A_ROW:
        return None
    start_s, end_s = min(bar.start_s for bar in bars), max(bar.end_s for bar in bars)
    half_s = (end_s - start_s) * rows * REQUESTS_IN_A_ROW / answers / 2
    middle_s = (start_s + end_s) / 2
    return [middle_s - half_s, middle_s + half_s]


def _trace(kind: BarKind, rows: list[tuple[str, Bar]]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": WORDS[kind],
        "meta": {"curve": kind},
        "y": [name for name, _ in rows],
        "base": [bar.start_s for _, bar in rows],
        "x": [bar.end_s - bar.start_s for _, bar in rows],
        "marker": {"color": PHASE_COLOURS[kind], "line": {"width": 1, "color": "rgba(255,255,255,0.35)"}},
        "hovertext": [_told(name, bar) for name, bar in rows],
        "hoverinfo": "text",
    }


def _told(name: str, bar: Bar) -> str:
    lasted = bar.end_s - bar.start_s
    return f"<b>request {bar.request}</b>, {name}<br>{WORDS[bar.kind]} {lasted:.2f} s, from {bar.start_s:.2f} s on"
