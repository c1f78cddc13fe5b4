"""One column of lengths out of a CSV file, with or without a header."""

import csv
from pathlib import Path

from sim.errors import BadScenario


def read_column(path: Path, column: str | None) -> tuple[tuple[int, ...], str | None]:
    """The lengths in a column, and its name if the file has a header.

    A file of one column needs no name; in a file of several, `column` picks one by its header.
    """
    rows = _rows(path)
    if not rows:
        raise BadScenario(f"{path} is empty: it needs one length in tokens on each line")
    _, first = rows[0]
    if len(first) == 1 and _is_number(first[0]):
        return _lengths(rows, 0, path), None
    names = [cell.strip().lower() for cell in first]
    index = _index(names, column, path)
    return _lengths(rows[1:], index, path), names[index]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Every line that is not blank, with its number in the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            return [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadScenario(f"cannot read lengths from {path}: {error}") from error


def _index(names: list[str], column: str | None, path: Path) -> int:
    if len(names) == 1 and not _is_number(names[0]):
        return 0
    if column is not None and column.lower() in names:
        return names.index(column.lower())
    wanted = f"no column '{column}'" if column else "several columns"
    raise BadScenario(f"{path} has {wanted}: name one of {', '.join(names)}, as {path}:NAME")


def _lengths(rows: list[tuple[int, list[str]]], index: int, path: Path) -> tuple[int, ...]:
    if not rows:
        raise BadScenario(f"{path} has a header and no lengths below it")
    return tuple(_length(row[index] if index < len(row) else "", path, at) for at, row in rows)


def _length(cell: str, path: Path, line: int) -> int:
    if not _is_number(cell) or int(cell) < 1:
        raise BadScenario(f"{path} line {line}: '{cell}' is not a length: write whole tokens, 1 or more")
    return int(cell)


def _is_number(cell: str) -> bool:
    return cell.strip().isascii() and cell.strip().isdigit() and len(cell) < 19
