"""CSV that tools write, as rows: the cells under the names of a header."""

import csv
import io
from collections.abc import Iterator

from sim.errors import BadScenario


def csv_lines(text: str, file: str, above: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line it begins on; `above` lines of the file stand before the text."""
    lines = csv.reader(io.StringIO(text, newline=""))
    before = 0
    try:
        for cells in lines:
            line, before = before + 1, lines.line_num
            if any(cell.strip() for cell in cells):
                yield above + line, cells
    except csv.Error as error:
        raise BadScenario(f"{file}:{above + lines.line_num}: not valid CSV: {error}") from None


def named(header: list[str], cells: list[str]) -> dict[str, object]:
    """The cells by name; where their number is another than the header's, no name is sure, and that is all it says."""
    if len(cells) != len(header):
        return {"cells": f"{len(cells)} where the header has {len(header)}"}
    return dict(zip(header, cells, strict=True))
