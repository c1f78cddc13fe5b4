"""What the mean time to the first token of one variant is spent on, up to and beyond what it carries."""

from reports.document import Document, Point, TtftBreakdown
from reports.figures.bars import stacked
from reports.figures.canvas import Figure, duration_axis
from reports.labels import BREAKDOWN_WORDS, cliff_of, load_of, points_of
from reports.palette import BREAKDOWN_COLOURS
from reports.tables import duration, share

BEYOND = 2.0  # times the first load that fails: farther out, waiting in line hides everything else


def draw(document: Document, variant: str) -> Figure:
    """A bar for every load: parts that are zero everywhere are left out."""
    points = shown_points(document, variant)
    parts = {
        name: values for name in TtftBreakdown.__slots__ if any(values := [_part(point, name) for point in points])
    }
    told = {name: [_told(point, name) for point in points] for name in parts}
    totals = [sum(_part(point, name) or 0 for name in parts) for point in points]
    y = duration_axis(totals, "mean time to first token") | {
        "type": "linear",
        "range": [0, 1.1 * max(totals, default=1)],
    }
    return stacked(points, parts, BREAKDOWN_WORDS, BREAKDOWN_COLOURS, told, y, cliff_of(document, variant))


def shown_points(document: Document, variant: str) -> list[Point]:
    """The loads that are drawn: stable, and not so far out that a queue is all there is to see."""
    points = [point for point in points_of(document, variant) if point.status == "ok"]
    cliff = cliff_of(document, variant)
    limit = BEYOND * cliff.first_failing_users if cliff and cliff.first_failing_users else float("inf")
    return [point for point in points if (load_of(point) or 0) <= limit]


def _part(point: Point, name: str) -> float | None:
    value: float | None = getattr(point.ttft_breakdown_ms, name)
    return value


def _told(point: Point, name: str) -> str:
    value, whole = _part(point, name), point.ttft_ms.mean
    of_all = share(value / whole) if value is not None and whole else "-"
    return f"{BREAKDOWN_WORDS[name]}: {duration(value)}, {of_all} of the mean TTFT of {duration(whole)}"
