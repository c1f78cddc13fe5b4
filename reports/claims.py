"""Claims and their verdicts as a table and for other programs; all from the JSON of `simctl validate --claims`."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from reports.markdown import LEFT
from reports.markdown import table as table_lines
from reports.tables import Table, aligned

HEADER = ("engine", "users", "claimed tok/s", "verdict", "why")

Document = Mapping[str, Any]


def tables(document: Document) -> list[Table]:
    """A table for each place where claims circulate."""
    places = dict.fromkeys((claim["table"], _title(claim)) for claim in document["claims"])
    return [
        Table(title, HEADER, tuple(_cells(claim) for claim in document["claims"] if claim["table"] == table))
        for table, title in places
    ]


def _title(claim: Mapping[str, Any]) -> str:
    lengths = ""
    if claim["prompt_tokens"] and claim["output_tokens"]:
        lengths = f", {claim['prompt_tokens']}/{claim['output_tokens']} tokens"
    return f"{claim['model']} on {claim['gpu']}{lengths}: {claim['quoted']}"


def _cells(claim: Mapping[str, Any]) -> tuple[str, ...]:
    claimed = "fails" if claim["claimed_tps"] is None else f"{claim['claimed_tps']:,.0f}{'+' * claim['at_least']}"
    return (claim["engine"], str(claim["users"]), claimed, claim["verdict"], claim["why"])


def plain(document: Document) -> str:
    """The tables as text."""
    return "\n\n".join(map(aligned, tables(document))) + "\n"


def markdown(document: Document) -> str:
    """The tables as Markdown."""
    lines: list[str] = []
    for table in tables(document):
        lines += [f"### {table.title}", "", *table_lines(table.header, table.rows, LEFT), ""]
    return "\n".join(lines)


def to_json(document: Document) -> str:
    """The document itself."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def comma_separated(document: Document) -> str:
    """A line for every claim."""
    text = io.StringIO()
    names = [name for name in document["claims"][0] if name != "predicted"] if document["claims"] else ["table"]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(document["claims"])
    return text.getvalue()


FORMATS = {"table": plain, "json": to_json, "csv": comma_separated, "md": markdown}
