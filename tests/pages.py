"""A page that a script makes: printed, written, or compared with the one that is committed."""

import re
from difflib import unified_diff
from pathlib import Path

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
TOLERANCE = 0.02  # of a figure: least squares end alike on any machine, but not to the last digit
LEAST = 1.5  # of whatever the figure counts
FIGURE = re.compile(r"\d+(?:\.(\d+))?")  # 1,234 is two of them


def alike(written: str, made: str) -> None:
    """Word for word, and number for number as far as the page is exact."""
    assert NUMBER.split(written) == NUMBER.split(made)
    for old, new in zip(NUMBER.findall(written), NUMBER.findall(made), strict=True):
        there, here = (float(text.replace(",", "")) for text in (old, new))
        assert abs(there - here) <= max(TOLERANCE * abs(there), LEAST), (old, new)


def alike_to_the_digit(written: str, made: str) -> None:
    """Word for word, and figure for figure but for one in the last digit that is written."""
    for old, new in _figures(written, made):
        assert _apart(old, new) < 1.5 * _unit(old), (old.group(), new.group())


def alike_but_for_signs(written: str, made: str) -> None:
    """The same of the last digit that is made now; what is nearly 0 may be so from either side."""
    for old, new in _figures(written.replace("+", "-"), made.replace("+", "-")):
        assert _apart(old, new) <= 1.01 * _unit(new), (old.group(), new.group())


def _figures(written: str, made: str) -> list[tuple[re.Match[str], re.Match[str]]]:
    """Every figure of one page beside that of the other, whose words are the same."""
    there, here = FIGURE.sub("#", written), FIGURE.sub("#", made)
    assert there == here, "\n".join(unified_diff(there.splitlines(), here.splitlines(), lineterm="", n=0))
    return list(zip(FIGURE.finditer(written), FIGURE.finditer(made), strict=True))


def _apart(old: re.Match[str], new: re.Match[str]) -> float:
    return abs(float(old.group()) - float(new.group()))


def _unit(figure: re.Match[str]) -> float:
    """One in its last digit."""
    return 10.0 ** -len(figure[1] or "")


def print_or_write(text: str, place: Path, arguments: list[str]) -> int:
    """What a page's script does; the exit code."""
    if "--write" in arguments:
        place.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0
