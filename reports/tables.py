"""Results for the eye and for other programs: verdicts and tables as plain text, Markdown, CSV and JSON lines."""

import csv
import io
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports import sensitivity_table
from reports.document import Distribution, Document, Limit, Point, to_json
from reports.markdown import table as table_lines
from reports.schema import encode
from reports.wording import WIDTH, curves, heading, verdict, wrapped

THIN_P99_SAMPLES = 1000  # with fewer, less than ten lie beyond the 99th percentile

Cell = Callable[[Point], str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


# -- numbers


def number(value: float | None, digits: int = 0) -> str:
    """A number as it stands in a table; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def duration(milliseconds: float | None) -> str:
    """Milliseconds, or seconds where they are many: three digits either way."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10_000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.0f} s" if milliseconds >= 100_000 else f"{milliseconds / 1000:.3g} s"


def _p99(spread: Distribution) -> str:
    """A tilde marks a p99 that rests on fewer than ten samples beyond it."""
    thin = spread.p99 is not None and spread.samples < THIN_P99_SAMPLES
    return ("~" if thin else "") + duration(spread.p99)


def share(value: float | None) -> str:
    """A part of a whole in percent; only what is exactly nothing or all is rounded to it."""
    return "-" if value is None else f"{100 * value:.0f}%" if value in (0.0, 1.0) else f"{100 * value:.1f}%"


SHORT: dict[Limit | None, str] = {
    None: "-",
    "context": "context",
    "kv_blocks": "KV",
    "seq_slots": "slots",
    "prefill_budget": "prompts",
    "decode_rate": "decode",
    "spill": "spill",
    "host_overhead": "host",
    "queue": "queue",
}
COLUMNS: dict[str, Cell] = {
    "users": lambda point: str(point.users) if point.users is not None else f"{point.rate:g}/s",
    "tok/s": lambda point: number(point.output_tps.value),
    "req/s": lambda point: number(point.request_rate, 2),
    "TTFT p50": lambda point: duration(point.ttft_ms.p50),
    "TTFT p99": lambda point: _p99(point.ttft_ms),
    "TPOT p50": lambda point: duration(point.tpot_ms.p50),
    "TPOT p99": lambda point: _p99(point.tpot_ms),
    "E2E p50": lambda point: duration(point.e2e_ms.p50),
    "in SLO": lambda point: share(point.attainment),
    "KV": lambda point: share(point.kv_used.mean),
    "limit": lambda point: SHORT[point.binding],
}


# -- tables


def tables(document: Document) -> list[Table]:
    """One table of points for every variant that has some."""
    made = []
    for row in document.variants:
        points = [point for point in document.points if point.variant == row.id]
        if points:
            made.append(Table(row.id + curves(points), tuple(COLUMNS), tuple(_cells(point) for point in points)))
    return made


def _cells(point: Point) -> tuple[str, ...]:
    """A point's row; past the stability limit latencies only tell how long the run was."""
    cells = {name: cell(point) for name, cell in COLUMNS.items()}
    if point.status == "unstable":
        cells |= {name: "unstable" if name == "TTFT p50" else "-" for name in cells if " p" in name}
    return tuple(cells.values())


def notes(document: Document) -> list[str]:
    """Footnotes of the tables."""
    spreads = [spread for point in document.points for spread in (point.ttft_ms, point.tpot_ms)]
    thin = any(spread.p99 is not None and spread.samples < THIN_P99_SAMPLES for spread in spreads)
    told = ["limit: what takes most of the latency that is nearest to its bound"] if _binds(document) else []
    return [*told, "~ fewer than ten samples lie beyond this p99"] if thin else told


def _binds(document: Document) -> bool:
    return any(point.binding for point in document.points)


def counsel(document: Document) -> list[str]:
    """What to do about it, within the width of a terminal."""
    return ["\n".join(wrapped(text) for text in document.advice)] if document.advice else []


def aligned(table: Table, gap: str = "  ") -> str:
    """The table in columns of plain text: numbers to the right, words to the left, a long last column folded."""
    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(_numeric(cell) for cell in column[1:]) for column in columns]
    left = sum(widths[:-1]) + len(gap) * (len(widths) - 1)
    lines = [table.title]
    for cells in (table.header, *table.rows):
        placed = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        line = gap.join(placed).rstrip()
        lines.append(line if numeric[-1] else _folded(gap.join([*placed[:-1], ""]), cells[-1], left))
    return "\n".join(lines)


def _folded(start: str, text: str, left: int) -> str:
    """A last cell of words, its further lines below its first."""
    folded = textwrap.wrap(text, max(WIDTH - left, WIDTH // 4), break_on_hyphens=False)
    return (start + f"\n{' ' * left}".join(folded)).rstrip()


def _numeric(cell: str) -> bool:
    return cell in ("-", "unstable") or cell.removeprefix("~")[:1].isdigit()


def plain(document: Document) -> str:
    """Verdicts first, then the numbers, within 100 columns."""
    blocks = [heading(document), "\n".join(verdict(document, row) for row in document.variants)]
    blocks += [aligned(table) for table in tables(document)]
    blocks += [*notes(document), *(sensitivity_table.told(document) or ()), *counsel(document)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def markdown(document: Document) -> str:
    """The same as a Markdown page."""
    lines = [heading(document), "", *(f"* {verdict(document, row)}" for row in document.variants)]
    for table in tables(document):
        lines += ["", f"### {table.title}", "", *table_lines(table.header, table.rows)]
    if moved := sensitivity_table.told(document):
        capacities, sentence = moved
        lines += ["", "```", capacities, "```", "", sentence]
    lines += [line for note in (*notes(document), *document.advice) for line in ("", note)]
    return "\n".join(lines) + "\n"


def details(document: Document) -> list[Table]:
    """Every point's latencies in full, and where its time to the first token went."""
    return [table for point in document.points for table in (_latencies(point), _breakdown(point))]


def _latencies(point: Point) -> Table:
    spreads = {
        "TTFT": point.ttft_ms,
        "TPOT": point.tpot_ms,
        "ITL": point.itl_ms,
        "stall": point.stall_ms,
        "E2E": point.e2e_ms,
    }
    rows = tuple(
        (
            name,
            *(duration(value) for value in (each.mean, each.p50, each.p90, each.p95)),
            _p99(each),
            f"{each.samples:,}",
        )
        for name, each in spreads.items()
    )
    ends = {**flat(encode(point.outcomes)), "preemptions": point.preemptions}
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in ends.items() if count)
    title = f"{point.variant} at {COLUMNS['users'](point)}: {point.requests} requests: {told}"
    return Table(title, ("", "mean", "p50", "p90", "p95", "p99", "samples"), rows)


def _breakdown(point: Point) -> Table:
    parts = encode(point.ttft_breakdown_ms)
    return Table(
        "Mean TTFT by what it was spent on",
        tuple(name.replace("_", " ") for name in parts),
        (tuple(map(duration, parts.values())),),
    )


# -- for programs


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one row: `ttft_ms.p99`."""
    row: dict[str, Any] = {}
    for key, item in value.items():
        row |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {prefix + key: item}
    return row


def comma_separated(document: Document) -> str:
    """A line for every point, a column for every figure; nothing stands where there is none."""
    rows = [flat(point) for point in to_json(document)["points"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["variant"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_lines(document: Document) -> str:
    """A JSON object on a line for every point."""
    points = to_json(document)["points"]
    return "".join(json.dumps(point, allow_nan=False) + "\n" for point in points)
