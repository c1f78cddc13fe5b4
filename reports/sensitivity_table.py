"""How far the capacity moves with one parameter, as a table and in a sentence."""

from collections.abc import Iterator, Sequence
from math import log

from reports.document import Document, SensitivityRow
from reports.figures.sensitivity import named, parameters
from reports.wording import WIDTH, wrapped

LEAST_USERS = 0.5  # what no user at all counts as where capacities are compared by their ratio
GAP = "  "
TITLE = "Users at once within the SLO with one thing moved, all else as asked"


def told(document: Document) -> tuple[str, str] | None:
    """A table no wider than the terminal, and what moves the capacity the most; None where nothing was moved."""
    if not document.sensitivity:
        return None
    return "\n\n".join(_tables(document)), _most(document)


# -- the table


def _tables(document: Document) -> Iterator[str]:
    labels = ["as asked", *(_label(row) for row in _places(document))]
    width = max(map(len, labels))
    shown: list[list[str]] = []
    for column in _columns(document):
        if shown and width + sum(len(GAP + cells[0]) for cells in [*shown, column]) > WIDTH:
            yield _table(labels, shown)
            shown = []
        shown.append(column)
    yield _table(labels, shown)


def _table(labels: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    width = max(map(len, labels))
    lines = [GAP.join([label.ljust(width), *cells]) for label, *cells in zip(["", *labels], *columns, strict=True)]
    return "\n".join([TITLE, *lines])


def _columns(document: Document) -> Iterator[list[str]]:
    """A variant and its capacity at every place, all of one width."""
    places = _places(document)
    for variant in dict.fromkeys(row.variant for row in document.sensitivity):
        found = {
            (row.parameter, row.value): row.capacity_users for row in document.sensitivity if row.variant == variant
        }
        end = _end_of_range(document, variant)
        users = [_asked(document, variant), *(found.get((row.parameter, row.value)) for row in places)]
        cells = [variant, *(_users(count, end) for count in users)]
        width = max(map(len, cells))
        yield [cell.rjust(width) for cell in cells]


def _places(document: Document) -> list[SensitivityRow]:
    """Every value of every parameter once."""
    order = parameters(document)
    places = {(order.index(row.parameter), row.value): row for row in document.sensitivity}
    return [places[place] for place in sorted(places)]


def _label(row: SensitivityRow) -> str:
    return f"{named(row.parameter)} {row.value:,g} {row.unit}"


def _users(count: int | None, end: int | None) -> str:
    """A plus stands behind what nothing beyond was tried of."""
    if count is None:
        return "-"
    return f"{count:,}" + ("+" if end is not None and count >= end else "")


def _asked(document: Document, variant: str) -> int | None:
    return next((cliff.capacity_users for cliff in document.cliffs if cliff.variant == variant), None)


def _end_of_range(document: Document, variant: str) -> int | None:
    """The load at which the search gave up, where none failed."""
    reached = (cliff for cliff in document.cliffs if cliff.variant == variant and cliff.status == "not_reached")
    return next((cliff.capacity_users for cliff in reached), None)


# -- the sentence


def _most(document: Document) -> str:
    """For the variant that carries most: the parameter with the widest range of capacities, and the next."""
    variants = dict.fromkeys(row.variant for row in document.sensitivity)
    variant = max(variants, key=lambda name: _asked(document, name) or 0)
    lines = [
        sorted((row for row in document.sensitivity if (row.variant, row.parameter) == (variant, name)), key=_value)
        for name in parameters(document)
    ]
    moving = sorted((line for line in lines if _reach(line) > 0), key=_reach, reverse=True)
    if not moving:
        return wrapped(f"{variant}: nothing that was moved moves the capacity")
    first, *others = (_range(document, line) for line in moving[:2])
    then = f"; then {others[0]}" if others else ""
    return wrapped(f"What moves {variant} the most over these ranges: {first}{then}")


def _value(row: SensitivityRow) -> float:
    return row.value


def _carried(row: SensitivityRow) -> float:
    return row.capacity_users or LEAST_USERS


def _reach(line: Sequence[SensitivityRow]) -> float:
    """How many times the least the most is, as a logarithm; what does not start is left out."""
    users = [_carried(row) for row in line if row.capacity_users is not None]
    return log(max(users) / min(users)) if users else 0.0


def _range(document: Document, line: Sequence[SensitivityRow]) -> str:
    started = [row for row in line if row.capacity_users is not None]
    end = _end_of_range(document, line[0].variant)
    ends = sorted((min(started, key=_carried), max(started, key=_carried)), key=_value)
    at = (f"{_users(row.capacity_users, end)} users at {row.value:,g} {row.unit}" for row in ends)
    return f"{named(line[0].parameter)} ({', '.join(at)})"
