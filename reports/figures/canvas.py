"""What all figures have in common: margins, axes that say their unit, lines for bounds."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from reports.labels import short_duration, shown
from reports.palette import NEUTRAL, Style, faded

Figure = dict[str, Any]
Axis = dict[str, Any]

_LOG_ABOVE_RATIO = 30.0
_MOST_TICKS = 9
_LEAST, _MOST = 1e-9, 1e15


def figure(data: Sequence[dict[str, Any]], x: Axis, y: Axis, **layout: Any) -> Figure:
    """Traces on axes; the page adds the colours of its theme."""
    return {
        "data": list(data),
        "layout": {
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "xaxis": {"automargin": True, "zeroline": False, **x},
            "yaxis": {"automargin": True, "zeroline": False, **y},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "hovermode": "closest",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            **layout,
        },
    }


def area(
    variant: str, name: str, curve: str, edges: Sequence[tuple[float | None, float, float]], style: Style
) -> dict[str, Any]:
    """The surface between the low and the high ends at each place, in the colour of its variant."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": shown(name),
        "legendgroup": shown(variant),
        "showlegend": False,
        "meta": {"variant": variant, "curve": curve},
        "x": [place for place, _, _ in edges] + [place for place, _, _ in reversed(edges)],
        "y": [low for _, low, _ in edges] + [high for _, _, high in reversed(edges)],
        "fill": "toself",
        "fillcolor": faded(style.colour, 0.22),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def drawable(values: Iterable[float | None]) -> list[float]:
    """What an axis can be laid out for: above nothing, and no slip of somebody's pen."""
    return [value for value in values if value is not None and _LEAST < value < _MOST]


def load_axis(loads: Iterable[float], *, by_rate: bool) -> Axis:
    """Users or requests per second, on a scale on which every doubling is as wide."""
    sizes = drawable(loads)
    axis: Axis = {"title": {"text": "requests per second" if by_rate else "users at once"}, "type": "log"}
    if not sizes:
        return axis
    ticks = [2.0**power for power in range(math.floor(math.log2(min(sizes))), math.ceil(math.log2(max(sizes))) + 1)]
    ticks = ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]
    margin = 0.04 * max(math.log10(max(sizes) / min(sizes)), 1)
    span = [math.log10(min(sizes)) - margin, math.log10(max(sizes)) + margin]
    return {**axis, "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks], "range": span}


def duration_axis(milliseconds: Iterable[float | None], title: str) -> Axis:
    """Durations: from zero, or by powers of ten where they differ too much for that."""
    sizes = drawable(milliseconds)
    if not sizes or max(sizes) / min(sizes) <= _LOG_ABOVE_RATIO:
        ticks = even_ticks(max(sizes, default=1.0))
        scale: Axis = {"type": "linear", "range": [0, 1.06 * max(sizes, default=1.0)]}
    else:
        low, high = math.log10(min(sizes)), math.log10(max(sizes))
        steps = (1, 3) if high - low < 4 else (1,)
        powers = range(math.floor(low), math.ceil(high) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
        margin = 0.05 * (high - low)
        scale = {"type": "log", "range": [low - margin, high + margin]}
    words = [short_duration(tick) if tick else "0" for tick in ticks]
    return {"title": {"text": title}, **scale, "tickvals": ticks, "ticktext": words}


def even_ticks(highest: float) -> list[float]:
    """Four to eight round numbers from zero to the highest value."""
    rough = highest / 5
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= rough)
    return [round(step * place, 12) for place in range(math.floor(highest / step) + 1)]


def bound_line(value: float, text: str, *, log: bool) -> tuple[Axis, Axis]:
    """A line across the figure that must not be crossed, and its name: a shape and an annotation."""
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dash"}
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}
    note = {
        "xref": "paper",
        "x": 0.995,
        "xanchor": "right",
        "y": math.log10(value) if log else value,
        "yanchor": "bottom",
        "showarrow": False,
        "text": text,
        "font": {"color": NEUTRAL, "size": 12},
    }
    return shape, note
