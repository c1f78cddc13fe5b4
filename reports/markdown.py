"""Tables in Markdown."""

from collections.abc import Sequence

LEFT, RIGHT = "---", "---:"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], side: str = RIGHT) -> list[str]:
    """The lines of a table whose cells all stand on one side."""
    return [_line(cells) for cells in (header, [side] * len(header), *rows)]


def _line(cells: Sequence[str]) -> str:
    """A bar in a cell would be read as its end."""
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
