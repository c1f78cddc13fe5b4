"""Durations as Go writes them: `1m2.3s`, `815.2ms`, `4µs`."""

import re

LONG = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,8})m)?(\d{1,9}(?:\.\d{1,9})?)s")
SHORT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[uµμ]s|ns)")  # Go's own µ, and the Greek letter
SHORT_NS = {"m": 1e6, "n": 1.0}
MICRO_NS = 1e3


def nanoseconds(text: str) -> float | None:
    """What a duration comes to; None where it is none, as one that was cut: minutes never stand without seconds."""
    if short := SHORT.fullmatch(text):
        return float(short[1]) * SHORT_NS.get(short[2][0], MICRO_NS)
    if long := LONG.fullmatch(text):
        hours, minutes, seconds = (float(part or 0) for part in long.groups())
        return 1e9 * (3600 * hours + 60 * minutes + seconds)
    return None
