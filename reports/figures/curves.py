"""Curves against the load: a line for every variant, the spread of its seeds, and where its cliff lies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.document import Cliff, Document, Point
from reports.figures.canvas import Figure, area, bound_line, duration_axis, figure, load_axis
from reports.labels import by_rate, cliff_of, drawn_variants, load_of, load_text, points_of, shown
from reports.palette import Style, faded, styles

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line per variant: its value at a point, the spread around it, and what the reader is told there."""

    name: str
    value: Callable[[Point], float | None]
    spread: Callable[[Point], tuple[float | None, float | None]] | None
    told: Callable[[Point], str]
    main: bool = True


def curves(document: Document, lines: Sequence[Curve]) -> list[Trace]:
    """The traces of every variant: bands first, so that no line is hidden."""
    look = styles(document)
    drawn = [(row.id, points_of(document, row.id), look[row.id]) for row in drawn_variants(document)]
    bands = [_band(name, points, style, line) for name, points, style in drawn for line in lines if line.spread]
    return [
        *filter(None, bands),
        *(_line(name, points, style, line) for name, points, style in drawn for line in lines),
    ]


def _line(variant: str, points: list[Point], style: Style, curve: Curve) -> Trace:
    main = curve.main
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": shown(variant if main else f"{variant}, {curve.name}"),
        "legendgroup": shown(variant),
        "showlegend": main,
        "meta": {"variant": variant, "curve": curve.name},
        "x": [load_of(point) for point in points],
        "y": [curve.value(point) for point in points],
        "hovertext": [_hover(variant, point, curve) for point in points],
        "hoverinfo": "text",
        "line": {"color": style.colour, "width": 2.5 if main else 1.2, "dash": style.dash if main else "dot"},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 7 if main else 4},
    }


def _hover(variant: str, point: Point, curve: Curve) -> str:
    return f"<b>{shown(variant)}</b>, {load_text(point)}<br>{curve.told(point)}"


def _band(variant: str, points: list[Point], style: Style, curve: Curve) -> Trace | None:
    """The area between the lowest and the highest seed."""
    assert curve.spread is not None
    edges = [(load_of(point), *curve.spread(point)) for point in points]
    known = [(load, low, high) for load, low, high in edges if low is not None and high is not None]
    if all(low == high for _, low, high in known):
        return None
    return area(variant, f"{variant}, seeds", f"{curve.name}, seeds", known, style)


def cliffs(document: Document) -> list[Trace]:
    """Where each variant falls: the steep rise of its TTFT, or from what it carries to what it does not."""
    look = styles(document)
    found = [(row.id, _edges(cliff_of(document, row.id))) for row in drawn_variants(document)]
    return [
        {
            "type": "rect",
            "name": variant,
            "yref": "paper",
            "x0": edges[0],
            "x1": edges[1],
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "fillcolor": faded(look[variant].colour, 0.14),
            "line": {"color": faded(look[variant].colour, 0.5), "width": 0.5},
        }
        for variant, edges in found
        if edges is not None
    ]


def _edges(cliff: Cliff | None) -> tuple[float, float] | None:
    if cliff is None:
        return None
    if cliff.cliff is not None:
        return cliff.cliff.from_, cliff.cliff.to
    if cliff.first_failing_users is None or not cliff.capacity_users:
        return None
    return cliff.capacity_users, cliff.first_failing_users


def against_load(document: Document, lines: Sequence[Curve], y: dict[str, Any], bounds: dict[str, float]) -> Figure:
    """The figure: curves, shaded cliffs, and a line for every bound that has a name."""
    loads = [load for point in document.points if (load := load_of(point)) is not None]
    marks = [bound_line(value, text, log=y["type"] == "log") for text, value in bounds.items()]
    return figure(
        curves(document, lines),
        load_axis(loads, by_rate=by_rate(document)),
        y,
        shapes=[*cliffs(document), *(shape for shape, _ in marks)],
        annotations=[note for _, note in marks],
    )


def durations(document: Document, lines: Sequence[Curve], title: str, bounds: dict[str, float]) -> Figure:
    """The figure of a latency."""
    values = [curve.value(point) for curve in lines for point in document.points if load_of(point) is not None]
    return against_load(document, lines, duration_axis([*values, *bounds.values()], title), bounds)
