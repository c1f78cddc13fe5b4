"""Figures that a log says once or several times: those on which it agrees with itself."""

import re
from collections.abc import Mapping

from calibration.parsing.rows import Row


def agreeing(text: str, patterns: Mapping[str, re.Pattern[str]]) -> tuple[Row, tuple[str, ...]]:
    """What each pattern finds, where it finds one thing only; and the names of those that find different things."""
    found = {name: list(dict.fromkeys(map(_found, pattern.finditer(text)))) for name, pattern in patterns.items()}
    same = {name: values[0] for name, values in found.items() if len(values) == 1}
    return Row(same), tuple(name for name, values in found.items() if len(values) > 1)


def _found(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group is not None), "").strip()
