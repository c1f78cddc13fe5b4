"""Every number behind the curves, in tables that can be checked against results.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports.document import Document, Point
from reports.labels import cliff_of
from reports.markup import Html, element, joined
from reports.schema import encode
from reports.sections.parts import quantity, section
from reports.tables import duration, flat, number, share

LEAD = (
    "Green is the largest load that is carried, red the first that is not. "
    "A tilde marks a percentile beyond which fewer than ten samples lie."
)

Shown = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the points under a heading."""

    title: str
    field: str
    shown: Shown
    unless_unstable: bool = False


def _whole(value: float | None) -> str:
    return number(value)


def _tenths(value: float | None) -> str:
    return number(value, 1)


def _hundredths(value: float | None) -> str:
    return number(value, 2)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _spread(metric: str, *percentiles: str) -> list[Column]:
    """Percentiles of a latency."""
    title = metric.upper() if metric != "stall" else "longest gap"
    return [Column(f"{title} {name}", f"{metric}_ms.{name}", duration, True) for name in percentiles]  # noqa: FBT003


COLUMNS = [
    Column("tok/s", "output_tps.value", _whole),
    Column("lowest seed", "output_tps.low", _whole),
    Column("highest", "output_tps.high", _whole),
    Column("answers/s", "request_rate", _hundredths),
    Column("in SLO", "attainment", share),
    *_spread("ttft", "p50", "p90", "p95", "p99"),
    *_spread("tpot", "p50", "p90", "p95", "p99"),
    *_spread("itl", "p50", "p99"),
    *_spread("stall", "p99"),
    *_spread("e2e", "p50", "p99"),
    Column("running", "running.mean", _tenths),
    Column("waiting", "waiting.mean", _tenths),
    Column("KV used", "kv_used.mean", share),
    Column("preempted", "preemptions", _whole),
    Column("requests", "requests", _whole),
    Column("limited by", "binding", _text),
]


def draw(document: Document) -> Html:
    """A table for every variant, to be folded away."""
    blocks, opened = [], _best(document)
    for row in document.variants:
        points = [point for point in document.points if point.variant == row.id]
        if points:
            title = element("summary", f"{row.id}: {len(points)} load{'s' * (len(points) != 1)}")
            blocks.append(element("details", title, _table(document, row.id, points), open=row.id == opened))
    return section("points", "Every load", LEAD, *blocks)


def _best(document: Document) -> str | None:
    """The variant that carries most: its table is the one that is open."""
    carried = {cliff.variant: cliff.capacity_users or 0 for cliff in document.cliffs}
    return max(carried, key=lambda variant: carried[variant], default=None)


def _table(document: Document, variant: str, points: list[Point]) -> Html:
    first = "users" if any(point.users is not None for point in points) else "requests/s"
    head = element("tr", *(element("th", title, scope="col") for title in (first, *(c.title for c in COLUMNS))))
    rows = [_row(document, variant, point) for point in points]
    table = element("table", element("thead", head), element("tbody", joined(*rows)))
    return element("div", table, class_="scroll", tabindex="0")


def _row(document: Document, variant: str, point: Point) -> Html:
    values = flat(encode(point))
    load = values["rate"] if point.users is None else values["users"]
    keys = {"variant": variant, "load": load}
    name = "rate" if point.users is None else "users"
    cells = [quantity(f"{load:g}" if load is not None else "-", load, name, "th", **keys)]
    for column in COLUMNS:
        if column.unless_unstable and point.status == "unstable":
            cells.append(element("td", "unstable"))
        else:
            value = values[column.field]
            thin = "~" if _is_thin(column.field, values) else ""
            cells.append(quantity(thin + column.shown(value), value, column.field, "td", **keys))
    return element("tr", *cells, class_=_mark(document, variant, point))


def _is_thin(field: str, values: dict[str, Any]) -> bool:
    """Whether fewer than ten samples lie beyond a percentile."""
    metric, _, percentile = field.rpartition(".p")
    if not percentile.isdigit() or values[field] is None:
        return False
    return bool(values[f"{metric}.samples"] * (100 - int(percentile)) < 1000)


def _mark(document: Document, variant: str, point: Point) -> str | None:
    """What the load is to the verdict."""
    cliff = cliff_of(document, variant)
    if cliff is None or point.users is None:
        return None
    marks = {cliff.first_failing_users: "failing", cliff.capacity_users: "carried"}
    return marks.get(point.users)
