"""Stacked bars of one variant, a bar for every load."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.document import Cliff, Point
from reports.figures.canvas import Axis, Figure, figure
from reports.labels import load_of, load_text, shown
from reports.palette import NEUTRAL


def stacked(
    points: Sequence[Point],
    parts: Mapping[str, Sequence[float | None]],
    words: Mapping[str, str],
    colours: Mapping[str, str],
    told: Mapping[str, Sequence[str]],
    y: Axis,
    cliff: Cliff | None,
) -> Figure:
    """Parts from below to above in the order given, and a line where the SLO breaks."""
    loads = [f"{load_of(point):g}" for point in points]
    data = [
        {
            "type": "bar",
            "name": words[part],
            "meta": {"curve": part},
            "x": loads,
            "y": list(values),
            "marker": {"color": colours[part]},
            "hovertext": [_hover(*told_at) for told_at in zip(points, told[part], strict=True)],
            "hoverinfo": "text",
        }
        for part, values in parts.items()
    ]
    title = "users at once" if any(point.users is not None for point in points) else "requests per second"
    x = {"type": "category", "title": {"text": title}, "showgrid": False}
    return figure(data, x, y, barmode="stack", bargap=0.18, **_break_mark(points, cliff))


def _hover(point: Point, told: str) -> str:
    return f"<b>{shown(point.variant)}</b>, {load_text(point)}<br>{told}"


def _break_mark(points: Sequence[Point], cliff: Cliff | None) -> dict[str, Any]:
    """A line between the largest load that is carried and the first that is not."""
    failing = cliff.first_failing_users if cliff else None
    place = next((at for at, point in enumerate(points) if point.users == failing and failing is not None), None)
    if place is None:
        return {}
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dash"}
    edge = {"type": "line", "yref": "paper", "x0": place - 0.5, "x1": place - 0.5, "y0": 0, "y1": 1, "line": line}
    words = {"text": "SLO breaks", "font": {"color": NEUTRAL, "size": 12}, "showarrow": False}
    left = place * 2 > len(points)
    corner = {"xanchor": "right" if left else "left", "x": place - 0.5, "yref": "paper", "y": 1, "yanchor": "top"}
    return {"shapes": [edge], "annotations": [words | corner | {"xshift": -4 if left else 4}]}
