"""Predictions beside measurements, for the eye and for other programs; all from the JSON of `simctl validate`."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reports.markdown import LEFT
from reports.markdown import table as table_lines
from reports.markup import Html, element, joined
from reports.tables import Table, aligned, number

METRICS = {"output_tps": "output tok/s", "ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2e_ms": "E2E"}
UNITS = {"output_tps": "tok/s", "ttft_ms": "ms", "tpot_ms": "ms", "e2e_ms": "ms"}
DIMENSIONS = ("engine", "gpu", "load", "trust")
HEADER = ("", "metric", "n", "median |error|", "p90 |error|", "bias", "in band", "band")
LONGEST_REASON = 160
MEANING = (
    "error = predicted / measured − 1; bias = median of the signed errors; band = median half width; "
    "in band = share of measurements inside it"
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
"""

Document = Mapping[str, Any]


# -- tables


def tables(document: Document) -> list[Table]:
    """The errors of all rows, then by engine, GPU, load and trust; and what was not compared."""
    summary = document["summary"]
    seen = summary.get("in_sample")
    whole = {"held out": summary["all"], "in sample": seen} if seen else {"all": summary["all"]}
    made = [Table(f"All {len(document['rows'])} measurements", HEADER, tuple(_accuracy_rows(whole)))]
    made += [
        Table(f"By {dimension}", HEADER, tuple(_accuracy_rows(summary["by"][dimension])))
        for dimension in DIMENSIONS
        if summary["by"][dimension]
    ]
    if document["unmapped"]:
        made.append(_unmapped(document["unmapped"]))
    return made


def _accuracy_rows(groups: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each group and metric that something was measured of."""
    return [
        (
            group,
            METRICS[metric],
            number(found["n"]),
            percent(found["median_abs_error"]),
            percent(found["p90_abs_error"]),
            percent(found["bias"], sign="+"),
            percent(found["coverage"]),
            "-" if found["width"] is None else f"±{percent(found['width'])}",
        )
        for group, metrics in groups.items()
        for metric, found in metrics.items()
        if found["n"]
    ]


def percent(share: float | None, sign: str = "") -> str:
    """A share in per cent; a dash where there is none."""
    if share is None:
        return "-"
    return f"{100 * share:{sign}.1f}%" if abs(share) < 0.0995 else f"{100 * share:{sign},.0f}%"


def _unmapped(left: Sequence[Mapping[str, Any]]) -> Table:
    """How many measurements were not compared for each reason, the commonest first."""
    reasons = Counter(_short(each["reason"]) for each in left)
    rows = tuple((str(count), reason) for reason, count in reasons.most_common())
    return Table(f"{len(left)} not compared", ("rows", "why"), rows)


def _short(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + " ..."


# -- renderings


def plain(document: Document) -> str:
    """The tables as text."""
    return "\n\n".join([*map(aligned, tables(document)), MEANING]) + "\n"


def markdown(document: Document) -> str:
    """The tables as Markdown."""
    lines: list[str] = []
    for table in tables(document):
        lines += [f"### {table.title}", "", *table_lines(table.header, table.rows, LEFT), ""]
    return "\n".join([*lines, MEANING]) + "\n"


def to_json(document: Document) -> str:
    """The document itself."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def comma_separated(document: Document) -> str:
    """A line for every figure of every row."""
    text = io.StringIO()
    facts = ("row", "source_id", "engine", "gpu", "model", "weights", "load", "load_value", "trust", "held_out")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*facts, "metric", "observed", "predicted", "error", "low", "high", "assumed"])
    for row in document["rows"]:
        for metric, figure in row["metrics"].items():
            writer.writerow([*(row[fact] for fact in facts), metric, *figure.values(), "; ".join(row["assumed"])])
    return text.getvalue()


# -- the page


def page(document: Document) -> str:
    """One self-contained file: predicted against measured, and the tables."""
    title = "Predicted against measured"
    head = joined(
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Html(STYLE)),
    )
    body = joined(element("h1", title), element("p", MEANING), _figures(document), *map(_html, tables(document)))
    return f"<!doctype html>\n{element('html', element('head', head), element('body', body), lang='en')}\n"


def _html(table: Table) -> Html:
    head = element("tr", *(element("th", cell) for cell in table.header))
    rows = [element("tr", *(element("td", cell) for cell in row)) for row in table.rows]
    return joined(element("h2", table.title), element("table", head, *rows))


def _figures(document: Document) -> Html:
    """A scatter for each metric where plotly is installed; else a word on how to get it."""
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 (an optional extra)
    except ImportError:
        return element("p", "The figures need the extra 'report': pip install 'simctl[report]'")
    drawn = [_scatter(document, metric) for metric in METRICS]
    return joined(element("script", Html(get_plotlyjs())), *(figure for figure in drawn if figure))


def _scatter(document: Document, metric: str) -> Html:
    """Predicted against measured on logarithmic scales, one colour an engine, and the diagonal."""
    from plotly import graph_objects  # noqa: PLC0415 (an optional extra)

    rows = [row for row in document["rows"] if metric in row["metrics"]]
    if not rows:
        return Html("")
    figure = graph_objects.Figure()
    for engine in sorted({row["engine"] for row in rows}):
        own = [row for row in rows if row["engine"] == engine]
        pairs = [row["metrics"][metric] for row in own]
        figure.add_scatter(
            x=[pair["observed"] for pair in pairs],
            y=[pair["predicted"] for pair in pairs],
            text=[
                f"{row['gpu']}, {row['model']}, {row['load']} {row['load_value']:g} ({row['source_id']})" for row in own
            ],
            mode="markers",
            name=engine,
            marker={"size": 6, "opacity": 0.6},
        )
    _add_diagonal(figure, rows, metric)
    axis = {"type": "log", "title": {"text": f"measured, {UNITS[metric]}"}}
    figure.update_layout(title=METRICS[metric], xaxis=axis, height=560, template="plotly_white")
    figure.update_yaxes(type="log", title_text=f"predicted, {UNITS[metric]}", scaleanchor="x")
    return Html(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{metric}"))


def _add_diagonal(figure: Any, rows: Sequence[Mapping[str, Any]], metric: str) -> None:
    values = [row["metrics"][metric][side] for row in rows for side in ("observed", "predicted")]
    ends = [min(values), max(values)]
    figure.add_scatter(x=ends, y=ends, mode="lines", name="equal", line={"color": "#858B93", "width": 1})


FORMATS = {"table": plain, "json": to_json, "csv": comma_separated, "md": markdown, "html": page}
