"""A page that a script makes: printed, written, or compared with the one that is committed."""

import re
from pathlib import Path

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
TOLERANCE = 0.02  # of a figure: least squares end alike on any machine, but not to the last digit
LEAST = 1.5  # of whatever the figure counts


def alike(written: str, made: str) -> None:
    """Word for word, and number for number as far as the page is exact."""
    assert NUMBER.split(written) == NUMBER.split(made)
    for old, new in zip(NUMBER.findall(written), NUMBER.findall(made), strict=True):
        there, here = (float(text.replace(",", "")) for text in (old, new))
        assert abs(there - here) <= max(TOLERANCE * abs(there), LEAST), (old, new)


def print_or_write(text: str, place: Path, arguments: list[str]) -> int:
    """What a page's script does; the exit code."""
    if "--write" in arguments:
        place.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0
