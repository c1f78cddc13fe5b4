"""Requests one below the other as they arrive: how long each waits, is read, and answers."""

from collections.abc import Iterator, Sequence
from typing import Any

from reports.closeup import BarKind, CloseUp, Life
from reports.figures.canvas import Axis, Figure, figure
from reports.figures.slots import WORDS
from reports.palette import PHASE_COLOURS

REQUESTS_IN_VIEW = 40
Stretch = tuple[Life, float, float]


def draw(closeup: CloseUp) -> Figure:
    """A row for every request, the first to arrive at the top."""
    lives = sorted(closeup.waterfall, key=lambda life: (life.arrival_s, life.request))
    phases: dict[BarKind, list[Stretch]] = {"queue": [], "prompt": [], "decode": []}
    for life in lives:
        for kind, start, end in _phases(life):
            phases[kind].append((life, start, end))
    data = [_trace(kind, stretches, lives) for kind, stretches in phases.items() if stretches]
    x = {"title": {"text": "seconds since the start of the run"}}
    y = {"title": {"text": "requests, first to arrive on top"}, "showticklabels": False, "showgrid": False}
    x_view, y_view = _in_view(lives)
    height = 130 + 11 * min(max(len(lives), 12), REQUESTS_IN_VIEW)
    return figure(data, {**x, **x_view}, {**y, **y_view}, barmode="overlay", bargap=0.25, height=height)


def _in_view(lives: Sequence[Life]) -> tuple[Axis, Axis]:
    """Some requests from the middle, so that each can be told from the next."""
    if len(lives) <= REQUESTS_IN_VIEW:
        return {}, {"autorange": "reversed"}
    first = (len(lives) - REQUESTS_IN_VIEW) // 2
    seen = lives[first : first + REQUESTS_IN_VIEW]
    start_s, end_s = seen[0].arrival_s, max(life.end_s for life in seen)
    margin_s = 0.02 * (end_s - start_s)
    rows = [first + REQUESTS_IN_VIEW + 0.5, first + 0.5]
    return {"range": [start_s - margin_s, end_s + margin_s]}, {"range": rows}


def _phases(life: Life) -> Iterator[tuple[BarKind, float, float]]:
    """The stretches of a life as far as it got."""
    yield "queue", life.arrival_s, life.end_s if life.queue_end_s is None else life.queue_end_s
    if life.queue_end_s is not None:
        yield "prompt", life.queue_end_s, life.end_s if life.prompt_end_s is None else life.prompt_end_s
    if life.prompt_end_s is not None:
        yield "decode", life.prompt_end_s, life.end_s


def _trace(kind: BarKind, stretches: Sequence[Stretch], lives: Sequence[Life]) -> dict[str, Any]:
    row = {life.request: place for place, life in enumerate(lives, start=1)}
    return {
        "type": "bar",
        "orientation": "h",
        "name": WORDS[kind],
        "meta": {"curve": kind},
        "y": [row[life.request] for life, _, _ in stretches],
        "base": [start for _, start, _ in stretches],
        "x": [end - start for _, start, end in stretches],
        "marker": {"color": PHASE_COLOURS[kind]},
        "hovertext": [_told(kind, *stretch) for stretch in stretches],
        "hoverinfo": "text",
    }


def _told(kind: BarKind, life: Life, start: float, end: float) -> str:
    total = life.end_s - life.arrival_s
    return f"<b>request {life.request}</b>: {WORDS[kind]} {end - start:.2f} s<br>{total:.2f} s from arrival to end"
