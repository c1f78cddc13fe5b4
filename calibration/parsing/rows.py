"""A record of somebody's file: its fields are asked for by name, and refused by name when they cannot be true."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from calibration.points import Point, Rejected
from sim.errors import BadScenario

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LONGEST_NUMBER = 40  # characters
LARGEST = 1e15  # nothing that is read here is larger, in any of its units
SMALLEST = 1e-12  # nor smaller, unless it is 0


class BadField(BadScenario):
    """A field of one row that makes the row unusable; the rest of the file may be fine."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Row:
    """Named values and the line they stand on (from 1; None where the format has no lines)."""

    values: Mapping[str, object]
    line: int | None = None
    within: str = ""  # what encloses the values, as `metrics.`
    line_of: Callable[[str], int] | None = None  # where a field stands, in formats whose rows are many lines long

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) not in (None, "")

    def inside(self, *path: str) -> "Row":
        """The values that a value holds; none where it is absent or holds none."""
        row = self
        for name in path:
            held = row.values.get(name)
            row = Row(held if isinstance(held, dict) else {}, row.line, f"{row.within}{name}.", row.line_of)
        return row

    def refuse(self, name: str, reason: str) -> BadField:
        """What to raise when a field cannot be what it says."""
        return BadField(self.within + name, reason)

    def text(self, name: str) -> str:
        """A field as text; empty where it is blank."""
        raw = self.values.get(name)
        if isinstance(raw, dict | list):
            raise self.refuse(name, "is a list or a table, not a name")
        return "" if raw is None else str(raw).strip()

    def number(self, name: str) -> float | None:
        """A finite number of any sign; None where it is blank."""
        if name not in self:
            return None
        raw = self.values[name]
        if isinstance(raw, dict | list):
            raise self.refuse(name, "is a list or a table, not a number")
        value = _number(raw)
        if value is None:
            raise self.refuse(name, f"'{_short(raw)}' is not a number")
        if value and not SMALLEST <= abs(value) <= LARGEST:
            raise self.refuse(name, f"{value} is not a size that anything measured has")
        return value

    def amount(self, name: str) -> float | None:
        """A number that may be 0, as of tokens; None where it is blank."""
        value = self.number(name)
        if value is not None and value < 0:
            raise self.refuse(name, f"{value:g} is negative")
        return value

    def measured(self, name: str) -> float | None:
        """A time or a rate; None where it is blank or 0, which tools write for what they did not measure."""
        return self.amount(name) or None

    def needed(self, name: str) -> float:
        """A number above 0 without which the row means nothing."""
        value = self.amount(name)
        if value is None:
            raise self.refuse(name, "is missing")
        if value == 0:
            raise self.refuse(name, "is 0")
        return value

    def whole(self, name: str) -> int | None:
        """A count; None where it is blank."""
        value = self.amount(name)
        if value is not None and value != int(value):
            raise self.refuse(name, f"{value:g} is not a whole number")
        return None if value is None else int(value)


def gather(rows: Iterable[Row], point: Callable[[Row], Point], file: str) -> tuple[list[Point], list[Rejected]]:
    """Every row as a point, or as the reason why it is none."""
    points, rejected = [], []
    for row in rows:
        try:
            points.append(point(row))
        except BadField as bad:
            line = row.line_of(bad.field) if row.line_of else row.line
            rejected.append(Rejected(file, line, bad.field, bad.reason))
    return points, rejected


def ratio(part: float | None, whole: float | None) -> float | None:
    """A mean or a share; None where either side is unknown or there is nothing to share among."""
    return part / whole if part is not None and whole else None


def _number(raw: object) -> float | None:
    if isinstance(raw, str):
        text = raw.strip()
        return float(text) if len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) else None
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        return None if math.isnan(raw) else float(raw)
    except OverflowError:
        return math.inf


def _short(raw: object) -> str:
    text = str(raw)
    return text if len(text) <= LONGEST_NUMBER else text[:LONGEST_NUMBER] + "..."
