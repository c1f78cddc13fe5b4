"""The share of requests that keep the SLO against the load: the curve that capacity is read from."""

from reports.document import Document, Point
from reports.figures.canvas import Figure
from reports.figures.curves import Curve, against_load
from reports.tables import share

TARGET_PERCENT = 95.0


def draw(document: Document) -> Figure:
    """A line for every variant, and the share that a load must reach to count as carried."""
    ticks = [0, 20, 40, 60, 80, 100]
    axis = {"title": {"text": "requests within the SLO"}, "type": "linear", "range": [-2, 104]}
    axis |= {"tickvals": ticks, "ticktext": [f"{tick}%" for tick in ticks]}
    line = Curve("attainment", _percent, _interval, _told)
    return against_load(document, [line], axis, {f"target {TARGET_PERCENT:g}%": TARGET_PERCENT})


def _percent(point: Point) -> float | None:
    return None if point.attainment is None else 100 * point.attainment


def _interval(point: Point) -> tuple[float | None, float | None]:
    if point.attainment_low is None or point.attainment_high is None:
        return None, None
    return 100 * point.attainment_low, 100 * point.attainment_high


def _told(point: Point) -> str:
    return f"{share(point.attainment)} of {point.requests:,} requests within the SLO"
