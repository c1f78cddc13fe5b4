"""JSON that tools write, as rows: one object, a list of objects, an object a line, or objects of many lines each."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from calibration.parsing.rows import Row
from calibration.points import Rejected
from sim.errors import BadScenario

SPACE = re.compile(r"[\s,]*")


def json_rows(text: str, file: str) -> tuple[list[Row], list[Rejected]]:
    """The objects of a file, and the elements or lines that are none; BadScenario where there is no JSON at all."""
    try:
        return _document(text, file)
    except ValueError as error:
        rows, rejected = _lines(text, file)
        rows, rejected = (rows, rejected) if rows else (_one_after_another(text), [])
        if not rows:
            raise BadScenario(_complaint(error, file)) from None
        return rows, rejected


def parsed(text: str) -> Any:
    """What a JSON text says; ValueError whatever is wrong with it, too deep a nesting included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _document(text: str, file: str) -> tuple[list[Row], list[Rejected]]:
    document = parsed(text)
    if isinstance(document, dict):
        return [Row(document, 1, line_of=Span(text, 0, len(text), 1).line_of)], []
    if not isinstance(document, list):
        raise BadScenario(f"{file}:1: an object or a list of objects was expected, not {type(document).__name__}")
    rows, rejected = [], []
    for index, (element, span) in enumerate(zip(document, _elements(text), strict=True)):
        if isinstance(element, dict):
            rows.append(Row(element, span.line, line_of=span.line_of))
        else:
            rejected.append(Rejected(file, span.line, f"[{index}]", "is not an object"))
    return rows, rejected


@dataclass(frozen=True, slots=True)
class Span:
    """Where an object is written, and the line that it begins on."""

    text: str
    start: int
    end: int
    line: int

    def line_of(self, field: str) -> int:
        """The line where a field is written; that of what encloses it, where it is missing."""
        at = self.start
        for name in field.split("."):
            found = self.text.find(json.dumps(name), at, self.end)
            at = at if found < 0 else found
        return self.line + self.text.count("\n", self.start, at)


def _elements(text: str) -> Iterator[Span]:
    """Where each element of a list stands, in a text that has been found to hold one."""
    at = _after_space(text, text.index("[") + 1)
    return (span for _, span in _values(text, at, "]"))


def _one_after_another(text: str) -> list[Row]:
    """Objects that follow one another without being a list, as `jq` prints them; none unless all of it is that."""
    try:
        values = list(_values(text, _after_space(text, 0), ""))
    except (ValueError, RecursionError):
        return []
    rows = [Row(value, span.line, line_of=span.line_of) for value, span in values if isinstance(value, dict)]
    return rows if len(rows) == len(values) else []


def _values(text: str, at: int, end_mark: str) -> Iterator[tuple[Any, Span]]:
    """The values from a place on, up to a mark or the end of the text, and where each of them stands."""
    decoder, line, before = json.JSONDecoder(), 1, 0
    while text[at : at + 1] != end_mark:
        value, end = decoder.raw_decode(text, at)
        line, before = line + text.count("\n", before, at), at
        yield value, Span(text, at, end, line)
        at = _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


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
