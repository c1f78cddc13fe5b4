"""Values with units, as people write them on a command line, turned into plain numbers."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sim.errors import UsageError

PS_PER_S = 10**12
MOST_USERS = 1_000_000
MOST_GRID_POINTS = 4096

SECONDS_PER = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
BYTES_PER = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*([A-Za-zµ]*)")


def parse_number(text: str, what: str) -> float:
    """A finite decimal number; `what` names it in the error."""
    if not re.fullmatch(_NUMBER, text.strip()) or not math.isfinite(float(text)):
        raise UsageError(f"{what} '{text}' is not a finite number: write it as 12 or 0.5")
    return float(text)


def parse_count(text: str, what: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,18}", text) or not 1 <= int(text) <= most:
        raise UsageError(f"{what} '{text}' is not a whole number from 1 to {most}")
    return int(text)


def parse_duration(text: str, what: str = "duration") -> float:
    """Seconds from `500ms`, `10s`, `10m` or `2h`; only a bare 0 may go without a unit."""
    amount, unit = _split(text, what, "500ms, 10s, 10m or 2h")
    if not unit and amount == 0:
        return 0.0
    if unit not in SECONDS_PER:
        raise UsageError(f"{what} '{text}' needs a unit: one of {', '.join(SECONDS_PER)}")
    return amount * SECONDS_PER[unit]


def parse_size(text: str, what: str = "size") -> int:
    """Bytes from `40GiB` (powers of 1024) or `24GB` (powers of 1000)."""
    amount, unit = _split(text, what, "40GiB, 512MiB or 24GB")
    if unit.lower() not in BYTES_PER:
        raise UsageError(f"{what} '{text}' needs a unit: GiB (1024**3), GB (1000**3), MiB, MB ...")
    size_bytes = round(amount * BYTES_PER[unit.lower()])
    if size_bytes == 0:
        raise UsageError(f"{what} '{text}' is less than one byte: give a size above zero")
    return size_bytes


def _split(text: str, what: str, examples: str) -> tuple[float, str]:
    match = _WITH_UNIT.fullmatch(text.strip())
    # an amount that overflows a float, or would once scaled to picoseconds, is as useless as nan
    if match is None or abs(float(match[1])) > 1e100:
        raise UsageError(f"{what} '{text}' is not a number with a unit: write {examples}")
    if float(match[1]) < 0:
        raise UsageError(f"{what} '{text}' is negative: write {examples}")
    return float(match[1]), match[2]


def to_ps(seconds: float) -> int:
    """The whole picoseconds nearest to a number of seconds."""
    return round(seconds * PS_PER_S)


def number_text(number: float) -> str:
    """The shortest spelling that reads back as the same number: 512 rather than 512.0."""
    return repr(float(number)).removesuffix(".0")


@dataclass(frozen=True, slots=True)
class UserGrid:
    """The user counts a sweep visits first, ascending, and whether it may add more between them."""

    users: tuple[int, ...]
    refine: bool
    text: str


def parse_user_grid(text: str) -> UserGrid:
    """`1..128` doubles and may be refined, `1..128/8` steps by 8, `1,10,50` is a list."""
    text = text.strip()
    if ".." not in text:
        listed = {parse_count(part, "user count", MOST_USERS) for part in text.split(",")}
        return UserGrid(_checked(sorted(listed), text), refine=False, text=text)
    first_text, _, rest = text.partition("..")
    last_text, slash, step_text = rest.partition("/")
    first = parse_count(first_text, "first user count", MOST_USERS)
    last = parse_count(last_text, "last user count", MOST_USERS)
    if last < first:
        raise UsageError(f"users '{text}' is an empty range: write {last}..{first}")
    if slash:
        step = parse_count(step_text, "step between user counts", MOST_USERS)
        return UserGrid(_checked([*range(first, last, step), last], text), refine=False, text=text)
    return UserGrid(_doubling(first, last), refine=first < last, text=text)


def _doubling(first: int, last: int) -> tuple[int, ...]:
    users = [first]
    while users[-1] * 2 < last:
        users.append(users[-1] * 2)
    return tuple(users) if first == last else (*users, last)


def _checked(users: Sequence[int], text: str) -> tuple[int, ...]:
    if len(users) > MOST_GRID_POINTS:
        raise UsageError(
            f"users '{text}' asks for {len(users)} loads: take a larger step, "
            f"or a range without a step; at most {MOST_GRID_POINTS} fit in a sweep"
        )
    return tuple(users)
