"""The forms of llama-bench's output, Markdown, CSV, JSON and JSON lines, as rows under the names of its JSON."""

import re
from collections.abc import Iterator

from calibration.parsing.csvrows import csv_lines, named
from calibration.parsing.jsonrows import json_rows
from calibration.parsing.llamatext import table_rows
from calibration.parsing.rows import Row
from calibration.points import Rejected

MARKDOWN = {
    "t/s": "t/s",
    "model": "model_type",
    "ngl": "n_gpu_layers",
    "fa": "flash_attn",
    "threads": "n_threads",
    "sm": "split_mode",
    "nkvo": "no_kv_offload",
    "backend": "backends",
}
TEST = re.compile(r"(?:pp ?(\d{1,9}))?\+?(?:tg ?(\d{1,9}))?(?: @ d(\d{1,9}))?")


def bench_rows(text: str, file: str) -> tuple[list[Row], list[Rejected]]:
    """The tests that a text tells of, and the lines that are broken."""
    rows, broken = _machine_rows(text, file)
    return [*rows, *(_tested(row) for row in table_rows(text, MARKDOWN, "test"))], broken


def _machine_rows(text: str, file: str) -> tuple[list[Row], list[Rejected]]:
    if '"avg_ts"' in text:
        return json_rows(text, file)
    return (list(_csv_rows(text, file)), []) if "avg_ts" in text else ([], [])


def _csv_rows(text: str, file: str) -> Iterator[Row]:
    """The rows below the header; a program's chatter may stand above it."""
    start = text.rfind("\n", 0, text.index("avg_ts")) + 1
    lines = csv_lines(text[start:], file, text.count("\n", 0, start))
    _, header = next(lines)
    return (Row(named(header, cells), line) for line, cells in lines)


def _tested(row: Row) -> Row:
    """A Markdown row with its test and speed taken apart."""
    prompt, output, depth = test.groups() if (test := TEST.fullmatch(row.text("test"))) else (None, None, None)
    speed = row.text("t/s").partition("±")[0].strip()
    return Row({**row.values, "n_prompt": prompt, "n_gen": output, "n_depth": depth or "0", "avg_ts": speed}, row.line)
