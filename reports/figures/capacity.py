"""The answer in one picture: how many users each variant carries, with the band around it."""

from typing import Any

from reports.document import Cliff, Document, VariantRow
from reports.figures.canvas import Axis, Figure, figure
from reports.labels import by_rate, cliff_of, shown
from reports.palette import NEUTRAL, styles

FEW = 6  # with fewer, an axis would count half users


def draw(document: Document) -> Figure:
    """A bar for every variant; one that does not start has none, and says so."""
    rows = document.variants
    cliffs = [cliff_of(document, row.id) for row in rows]
    carried = [_carried(cliff) for cliff in cliffs]
    look = styles(document)
    bars = {
        "type": "bar",
        "orientation": "h",
        "meta": {"curve": "capacity_users"},
        "y": [shown(row.id) for row in rows],
        "x": carried,
        "marker": {"color": [look[row.id].colour for row in rows]},
        "error_x": _band(cliffs, carried),
        "hovertext": [_hover(row, cliff) for row, cliff in zip(rows, cliffs, strict=True)],
        "hoverinfo": "text",
    }
    farthest = max([*carried, *(cliff.high or 0 for cliff in cliffs if cliff)], default=0) or 1
    unit = "requests per second kept up with" if by_rate(document) else "users at once within the SLO"
    x: Axis = {"title": {"text": unit}, "range": [0, 1.3 * farthest]}
    if farthest < FEW:
        x["dtick"] = 1
    notes = [_note(row, cliff, edge) for row, cliff, edge in zip(rows, cliffs, carried, strict=True)]
    y = {"autorange": "reversed", "type": "category", "ticklabelstandoff": 6, "showgrid": False}
    shape = {"bargap": 0.35, "height": 70 + 38 * max(len(rows), 2), "showlegend": False}
    return figure([bars], x, y, annotations=notes, meta={"x_end_if_narrow": 1.9 * farthest}, **shape)


def is_empty(document: Document) -> bool:
    """Whether no variant carries anything, and words are enough."""
    return not any(_carried(cliff) for cliff in document.cliffs)


def caption(document: Document) -> str:
    """What a bar is."""
    if by_rate(document):
        return "The largest rate of arrival at which no queue grows without end."
    return "Streams kept in flight while at least 95% of requests keep the SLO; the whisker is the band."


def _carried(cliff: Cliff | None) -> float:
    return (cliff.capacity_users or cliff.stability_rate or 0) if cliff else 0


def _band(cliffs: list[Cliff | None], carried: list[float]) -> dict[str, Any]:
    """How far the capacity may lie above and below."""
    ends = [(c.low, c.high) if c and c.low is not None and c.high is not None else None for c in cliffs]
    above = [max(end[1] - value, 0) if end else 0 for end, value in zip(ends, carried, strict=True)]
    below = [max(value - end[0], 0) if end else 0 for end, value in zip(ends, carried, strict=True)]
    looks = {"color": NEUTRAL, "thickness": 2, "width": 5}
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "visible": any(ends), **looks}


def band_text(cliff: Cliff) -> str:
    """The band in brackets, where there is one."""
    return "" if cliff.low is None or cliff.high is None else f" ({cliff.low:,}–{cliff.high:,})"


def _summary(row: VariantRow, cliff: Cliff | None) -> str:
    if row.status == "does_not_fit":
        return "does not fit in memory"
    if row.status != "ok":
        return "not supported"
    if cliff is not None and cliff.stability_rate is not None:
        return f"<b>{cliff.stability_rate:.3g}</b> per second"
    if cliff is None or cliff.capacity_users is None:
        return "no capacity found"
    more = " and more" if cliff.status == "not_reached" else ""
    return f"<b>{cliff.capacity_users:,}</b>{more}{band_text(cliff)}"


def _note(row: VariantRow, cliff: Cliff | None, edge: float) -> dict[str, Any]:
    beyond = max(edge, cliff.high or 0) if cliff else 0
    place = {"x": beyond, "y": shown(row.id), "xanchor": "left", "xshift": 8, "showarrow": False}
    return {**place, "text": _summary(row, cliff), "align": "left"}


def _hover(row: VariantRow, cliff: Cliff | None) -> str:
    lines = [f"<b>{shown(row.id)}</b>: {_summary(row, cliff)}" if row.status == "ok" else shown(row.id)]
    if cliff and cliff.people:
        lines.append(f"about {cliff.people:,} people")
    if cliff and cliff.first_failing_users:
        lines.append(f"{(cliff.breached or 'the SLO').upper()} breaks at {cliff.first_failing_users:,}")
    return "<br>".join(lines)
