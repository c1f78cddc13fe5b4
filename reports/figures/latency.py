"""Percentiles of a latency against the load: the 99th in full, the median thin and dotted, the SLO as a line."""

from collections.abc import Callable

from reports.document import Distribution, Document, Point
from reports.figures.canvas import Figure
from reports.figures.curves import Curve, durations
from reports.labels import bounds_ms, short_duration
from reports.tables import duration, share

NAMES = {
    "ttft": "time to first token",
    "tpot": "time per output token",
    "itl": "gap between tokens",
    "stall": "longest gap of a request",
    "e2e": "time to the whole answer",
}


def draw(document: Document, metric: str) -> Figure:
    """One of `ttft`, `tpot`, `itl`, `stall` and `e2e`."""

    def spread(point: Point) -> Distribution:
        found: Distribution = getattr(point, f"{metric}_ms")
        return found

    def told(point: Point) -> str:
        return _told(point, metric, spread(point))

    lines = (
        Curve("p99", _stable(spread, "p99"), _extremes(spread), told),
        Curve("p50", _stable(spread, "p50"), None, told, main=False),
    )
    bound = bounds_ms(document).get(metric)
    bounds = {} if bound is None else {f"SLO {short_duration(bound)}": bound}
    return durations(document, lines, f"{_short(metric)}, p99 (p50 dotted)", bounds)


def _stable(spread: Callable[[Point], Distribution], name: str) -> Callable[[Point], float | None]:
    """A percentile, where it is one: past the stability limit it only tells how long the run was."""
    return lambda point: getattr(spread(point), name) if point.status == "ok" else None


def _extremes(spread: Callable[[Point], Distribution]) -> Callable[[Point], tuple[float | None, float | None]]:
    return lambda point: (spread(point).low, spread(point).high) if point.status == "ok" else (None, None)


def _short(metric: str) -> str:
    return "longest gap" if metric == "stall" else metric.upper()


def _told(point: Point, metric: str, spread: Distribution) -> str:
    lines = [
        f"{_short(metric)} p99 {duration(spread.p99)} (seeds {duration(spread.low)} to {duration(spread.high)})",
        f"p95 {duration(spread.p95)}, p90 {duration(spread.p90)}, p50 {duration(spread.p50)}",
        f"mean {duration(spread.mean)} of {spread.samples:,} samples",
        f"{share(point.attainment)} of requests within the SLO",
    ]
    return "<br>".join(lines)
