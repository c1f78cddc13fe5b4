"""JSON that tools write, as rows: one object, a list of objects, or an object a line."""

import json
from typing import Any

from calibration.points import Rejected
from calibration.rows import Row
from sim.errors import BadScenario


def json_rows(text: str, file: str) -> tuple[list[Row], list[Rejected]]:
    """The objects of a file, and the elements or lines that are none; BadScenario where there is no JSON at all."""
    try:
        return _document(parsed(text), file)
    except ValueError as error:
        rows, rejected = _lines(text, file)
        if not rows:
            raise BadScenario(_complaint(error, file)) from None
        return rows, rejected


def parsed(text: str) -> Any:
    """What a JSON text says; ValueError whatever is wrong with it, too deep a nesting included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _document(document: object, file: str) -> tuple[list[Row], list[Rejected]]:
    if isinstance(document, dict):
        return [Row(document, 1)], []
    if not isinstance(document, list):
        raise BadScenario(f"{file}:1: an object or a list of objects was expected, not {type(document).__name__}")
    rows = [Row(element) for element in document if isinstance(element, dict)]
    others = [index for index, element in enumerate(document) if not isinstance(element, dict)]
    return rows, [Rejected(file, None, f"[{index}]", "is not an object") for index in others]


def _lines(text: str, file: str) -> tuple[list[Row], list[Rejected]]:
    """Lines that are objects, and lines that are broken ones; what has no quotes is a program's chatter."""
    rows, rejected = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if '"' not in line:
            continue
        try:
            value = parsed(line)
        except ValueError as error:
            rejected.append(Rejected(file, number, "line", f"is not JSON: {error}"))
            continue
        if isinstance(value, dict):
            rows.append(Row(value, number))
        else:
            rejected.append(Rejected(file, number, "line", "is not an object"))
    return rows, rejected


def _complaint(error: ValueError, file: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{file}:{error.lineno}: not valid JSON at column {error.colno}: {error.msg}"
    return f"{file}:1: not valid JSON: {error}"
