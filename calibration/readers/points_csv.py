"""The points table: measurements of any engine, a row each, in the columns of `calibration/points.py`."""

import csv
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from calibration.parsing.csvrows import csv_lines, named
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.rows import Row, gather
from calibration.points import ENGINES, LOADS, Point, Reading
from sim.errors import BadScenario, UnknownName

FORMAT = "points CSV"
PITFALLS = (
    Pitfall("a burst's tail runs at a small batch: it is no closed loop of as many", under("burst")),
    Pitfall("output_tps counts the prompts' time unless the notes say otherwise", under("offline")),
)

COLUMNS = {field.name: field.type for field in fields(Point)}
NEEDED = ("engine", "load", "load_value")
WHOLE = (int, int | None)
COUNTED = tuple(load for load in LOADS if load not in ("poisson", "constant"))  # loads of so many, not so many a second
FOLDED = {"".join(filter(str.isalnum, engine)): engine for engine in ENGINES}
MEASURED = tuple(name for name in COLUMNS if name == "output_tps" or "_ms_" in name)


def recognises(head: str) -> bool:
    """By a header most of whose columns are the table's; one that is not is complained of later, by name."""
    try:
        header = [name.strip() for name in next(csv.reader(head.lstrip().splitlines()[:1]), [])]
    except csv.Error:
        return False
    known = [name for name in header if name in COLUMNS]
    return not set(NEEDED).isdisjoint(known) and len(known) >= max(3, len(header) / 2)


def read(text: str, source: str, path: Path) -> Reading:
    """A point a row; a number that cannot be true refuses its row, a column that is not the table's the whole file."""
    points, rejected = gather(_rows(text, str(path)), partial(_point, source), str(path))
    return Reading(FORMAT, tuple(points), tuple(rejected), warnings=warnings(PITFALLS, points))


def _rows(text: str, file: str) -> Iterator[Row]:
    header: list[str] = []
    for line, cells in csv_lines(text, file):
        if header:
            yield Row(named(header, cells), line)
        else:
            header = _header(cells, f"{file}:{line}")


def _header(cells: list[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name not in COLUMNS:
            raise BadScenario(f"{where}: {UnknownName('column', name, list(COLUMNS))}")
        if names.count(name) > 1:
            raise BadScenario(f"{where}: column '{name}' is there twice")
    for name in NEEDED:
        if name not in names:
            raise BadScenario(f"{where}: column '{name}' is missing")
    return names


def _point(source: str, row: Row) -> Point:
    if "cells" in row:
        raise row.refuse("cells", row.text("cells"))
    load, value = _load(row)
    _refuse_what_is_no_measurement(row)
    stated: dict[str, Any] = {name: _value(row, name) for name in COLUMNS if name in row}
    return Point(**{"source_id": source, **stated, "engine": _engine(row), "load": load, "load_value": value})


def _engine(row: Row) -> str:
    engine = FOLDED.get("".join(filter(str.isalnum, row.text("engine").lower())))
    if engine is None:
        raise row.refuse("engine", f"'{row.text('engine')}' is none of {', '.join(ENGINES)}")
    return engine


def _load(row: Row) -> tuple[str, float]:
    load, value = row.text("load").lower(), row.needed("load_value")
    if load not in LOADS:
        raise row.refuse("load", f"'{load}' is none of {', '.join(LOADS)}")
    if load == "single" and value != 1:
        raise row.refuse("load_value", f"is {value:g} where the load is single")
    if load in COUNTED:
        row.whole("load_value")
    return load, value


def _refuse_what_is_no_measurement(row: Row) -> None:
    if (row.amount("success_rate") or 0) > 1:
        raise row.refuse("success_rate", f"{row.text('success_rate')} is more than 1")
    stated = [row.needed(name) for name in MEASURED if name in row]
    if not stated:
        raise row.refuse("output_tps", "is blank, and so is every other measurement")
    if "gpu_count" in row:
        row.needed("gpu_count")


def _value(row: Row, name: str) -> Any:
    if COLUMNS[name] is str:
        return row.text(name)
    return row.whole(name) if COLUMNS[name] in WHOLE else row.amount(name)
