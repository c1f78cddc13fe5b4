"""Output tokens per second against the load: what the whole machine gives."""

from reports.document import Document, Point
from reports.figures.canvas import Figure, drawable, even_ticks
from reports.figures.curves import Curve, against_load
from reports.tables import number


def draw(document: Document) -> Figure:
    """A line for every variant, with the lowest and the highest of its seeds."""
    line = Curve("output_tps", _value, lambda point: (point.output_tps.low, point.output_tps.high), _told)
    highest = max(drawable(point.output_tps.high or _value(point) for point in document.points), default=1.0)
    ticks = even_ticks(highest)
    axis = {"title": {"text": "output tokens per second"}, "type": "linear", "range": [0, 1.06 * highest]}
    return against_load(document, [line], {**axis, "tickvals": ticks, "ticktext": [f"{x:,g}" for x in ticks]}, {})


def _value(point: Point) -> float | None:
    return point.output_tps.value


def _told(point: Point) -> str:
    made = point.output_tps
    return (
        f"{number(made.value)} tokens/s (seeds {number(made.low)} to {number(made.high)})<br>"
        f"{number(point.request_rate, 2)} answers/s, {number(point.running.mean, 1)} running, "
        f"{number(point.waiting.mean, 1)} waiting"
    )
