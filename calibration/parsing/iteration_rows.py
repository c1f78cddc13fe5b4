"""vLLM's own account of its steps as rows: lines of its log (--enable-logging-iteration-details), or a CSV of them."""

import csv
import io
import re
from collections.abc import Iterator

from calibration.parsing.rows import Row
from sim.errors import BadScenario

COLUMNS = ("ctx_reqs", "ctx_tokens", "gen_reqs", "gen_tokens", "elapsed_ms")
LINE = re.compile(
    r"Iteration\(\d+\): (?P<ctx_reqs>\S+) context requests, (?P<ctx_tokens>\S+) context tokens, "
    r"(?P<gen_reqs>\S+) generation requests, (?P<gen_tokens>\S+) generation tokens, "
    r"iteration elapsed time: (?P<elapsed_ms>\S+) ms(?:, \w+ KV cache usage: (?P<usage>[\d.]+)%)?"
)


def is_table(text: str) -> bool:
    """Whether a text begins with a CSV header that has the columns."""
    return set(COLUMNS) <= {name.strip() for name in text.lstrip().partition("\n")[0].split(",")}


def log_rows(text: str) -> Iterator[Row]:
    """Every line about a step; one that is cut short lacks its fields."""
    for number, line in enumerate(text.split("\n"), 1):
        if "Iteration(" in line:
            figures = LINE.search(line)
            yield Row(figures.groupdict() if figures else {}, number)


def table_rows(text: str, file: str) -> Iterator[Row]:
    """Every line of the table below its header."""
    lines = csv.reader(io.StringIO(text.lstrip(), newline=""))
    skipped = text[: len(text) - len(text.lstrip())].count("\n")
    try:
        header = [name.strip() for name in next(lines, [])]
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield Row(dict(zip(header, cells, strict=False)), skipped + lines.line_num)
    except csv.Error as error:
        raise BadScenario(f"{file}:{skipped + lines.line_num}: not valid CSV: {error}") from None
