"""Capacity against one parameter of the scenario, everything else as it was."""

from typing import Any

from reports.document import Document, SensitivityRow
from reports.figures.canvas import Figure, area, figure
from reports.labels import shown
from reports.palette import Style, styles

_WORDS = {
    "prompt-tokens": "prompt length",
    "output-tokens": "answer length",
    "think": "pause between messages",
    "vram": "GPU memory",
}


def parameters(document: Document) -> list[str]:
    """What was moved, in the order of the document."""
    return list(dict.fromkeys(row.parameter for row in document.sensitivity))


def named(parameter: str) -> str:
    """What a flag is about."""
    return _WORDS.get(parameter, parameter)


def draw(document: Document, parameter: str) -> Figure:
    """A line for every variant, with the band around it."""
    rows = [row for row in document.sensitivity if row.parameter == parameter]
    look = styles(document)
    variants = [row.id for row in document.variants if any(found.variant == row.id for found in rows)]
    data = []
    for variant in variants:
        mine = sorted((row for row in rows if row.variant == variant), key=lambda row: row.value)
        data += [*_band(variant, mine, look[variant]), _line(variant, mine, look[variant])]
    unit = f", {rows[0].unit}" if rows and rows[0].unit else ""
    x = {"title": {"text": shown(f"{named(parameter)}{unit}")}, "rangemode": "tozero"}
    return figure(data, x, {"title": {"text": "users at once within the SLO"}, "rangemode": "tozero"})


def _line(variant: str, rows: list[SensitivityRow], style: Style) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": shown(variant),
        "legendgroup": shown(variant),
        "meta": {"variant": variant, "curve": "capacity_users"},
        "x": [row.value for row in rows],
        "y": [row.capacity_users for row in rows],
        "hovertext": [_told(row) for row in rows],
        "hoverinfo": "text",
        "line": {"color": style.colour, "width": 2.5, "dash": style.dash},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 7},
    }


def _told(row: SensitivityRow) -> str:
    carried = "no capacity" if row.capacity_users is None else f"{row.capacity_users:,} users at once"
    band = "" if row.low is None or row.high is None else f" ({row.low:,}–{row.high:,})"
    return f"<b>{shown(row.variant)}</b>, {shown(row.parameter)} {row.value:,g} {shown(row.unit)}<br>{carried}{band}"


def _band(variant: str, rows: list[SensitivityRow], style: Style) -> list[dict[str, Any]]:
    known = [(row.value, row.low, row.high) for row in rows if row.low is not None and row.high is not None]
    if len(known) < 2:
        return []
    return [area(variant, f"{variant}, band", "band", known, style)]
