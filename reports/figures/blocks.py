"""Occupancy over time: how full the KV cache is, and below it how many requests run and wait."""

from typing import Any

from reports.closeup import CloseUp
from reports.figures.canvas import Figure, figure
from reports.palette import MEMORY_COLOURS, PHASE_COLOURS, RUNNING_COLOUR, faded


def draw(closeup: CloseUp) -> Figure:
    """Two plots over one axis of time."""
    times = [moment.t_s for moment in closeup.occupancy]
    used = [_percent(moment.used_tokens, closeup.capacity_tokens) for moment in closeup.occupancy]
    told = [
        f"{at.t_s:.2f} s: {at.used_tokens:,} of {closeup.capacity_tokens:,} tokens ({percent:.1f}%)"
        for at, percent in zip(closeup.occupancy, used, strict=True)
    ]
    filled = {"fill": "tozeroy", "fillcolor": faded(MEMORY_COLOURS["used"], 0.3)}
    data = [
        _step("KV cache in use", times, used, MEMORY_COLOURS["used"], told) | filled,
        _count("running", times, [moment.running for moment in closeup.occupancy], RUNNING_COLOUR),
        _count("waiting", times, [moment.waiting for moment in closeup.occupancy], PHASE_COLOURS["queue"]),
    ]
    x = {"title": {"text": "seconds since the start of the run"}, "anchor": "y2"}
    y = {"title": {"text": "KV in use, %"}, "domain": [0.5, 1], "range": [0, 105]}
    below = {"title": {"text": "requests"}, "domain": [0, 0.42], "rangemode": "tozero", "automargin": True}
    return figure(data, x, y, yaxis2={**below, "zeroline": False})


def _percent(used: int, capacity: int) -> float:
    return 100 * used / capacity if capacity else 0.0


def _step(name: str, times: list[float], values: list[Any], colour: str, told: list[str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "meta": {"curve": name},
        "x": times,
        "y": values,
        "line": {"color": colour, "width": 2, "shape": "hv"},
        "hovertext": told,
        "hoverinfo": "text",
    }


def _count(name: str, times: list[float], values: list[int], colour: str) -> dict[str, Any]:
    told = [f"{time:.2f} s: {value:,} {name}" for time, value in zip(times, values, strict=True)]
    return _step(name, times, values, colour, told) | {"yaxis": "y2"}
