"""What `--fail-if` finds in the results; it turns the exit code into 99, for the sake of CI."""

from collections.abc import Iterator, Sequence
from math import inf

import click

from reports.document import Cliff, Document, Point, VariantRow
from sim.cli.conditions import OF_CLIFFS, OF_POINTS, Condition, Known

MISSED = 99
MS = 1000
UNKNOWN = Known(0, inf)
OPEN_ENDED = ("capacity", "high", "people")  # as long as nothing fails
NO_ROOM = "it does not fit in memory"


def exit_code(document: Document, conditions: Sequence[Condition]) -> int:
    """0, or 99 with a line on stderr for everything that is as it must not be, or may be for all that is known."""
    lines = missed(document, conditions)
    for line in lines:
        click.echo(f"simctl: {line}", err=True)
    return MISSED if lines else 0


def missed(document: Document, conditions: Sequence[Condition]) -> list[str]:
    """A line for every variant or load that is not surely as it should be."""
    return [
        f"{where}: {_told(condition, known)}"
        for condition in conditions
        for where, known in _figures(document, condition.name)
        if condition.holds(known) is not False
    ]


def _figures(document: Document, name: str) -> Iterator[tuple[str, Known]]:
    """What is known of a figure: of every variant, or of every load of each."""
    cliffs = {cliff.variant: cliff for cliff in document.cliffs}
    for row in document.variants:
        points = [point for point in document.points if point.variant == row.id]
        if name in OF_CLIFFS:
            yield row.id, _of_cliff(row, cliffs.get(row.id), name)
        elif not points:
            yield row.id, _of_nobody(row, name)
        else:
            yield from ((f"{row.id} at {point.users or point.rate}", _of_point(point, name)) for point in points)


# -- figures


def _of_cliff(row: VariantRow, cliff: Cliff | None, name: str) -> Known:
    """Below the first load that fails lies the capacity, whatever it is."""
    if row.status == "does_not_fit":
        return Known(0, 0, NO_ROOM)
    value, failing = getattr(cliff, OF_CLIFFS[name], None), cliff.first_failing_users if cliff else None
    if value is not None and failing is None and name in OPEN_ENDED:
        return Known(value, inf, f"no load up to {value} breaks the SLO" if name == "capacity" else "")
    if value is not None:
        return Known(value, value)
    if failing is not None and (name in ("capacity", "low") or (name == "people" and failing == 1)):
        return Known(0, failing - 1, f"{failing} users break the SLO")
    return UNKNOWN


def _of_nobody(row: VariantRow, name: str) -> Known:
    """Who cannot start answers nobody."""
    if row.status != "does_not_fit":
        return UNKNOWN
    return Known(inf, inf, NO_ROOM) if name in OF_POINTS else Known(0, 0, NO_ROOM)


def _of_point(point: Point, name: str) -> Known:
    if name in OF_POINTS:
        return _latency(point, name)
    value = point.attainment if name == "attainment" else point.output_tps.value
    return UNKNOWN if value is None else Known(value, value)


def _latency(point: Point, name: str) -> Known:
    """In seconds; who gets no answer waits for ever, and a mean is one of all."""
    spread, figure = getattr(point, OF_POINTS[name][0]), OF_POINTS[name][1]
    first_tokens = name.startswith("ttft")
    answered = spread.samples if first_tokens else point.outcomes.finished + point.outcomes.length
    part = 100 if figure == "mean" else int(figure.removeprefix("p"))
    if 100 * answered < part * point.requests:
        return Known(inf, inf, f"{answered:,} of {point.requests:,} requests were answered")
    value = getattr(spread, figure)
    return UNKNOWN if value is None else Known(value / MS, value / MS)


# -- words


def _told(condition: Condition, known: Known) -> str:
    why = f" ({known.why})" if known.why else ""
    if condition.holds(known) is None:
        return f"{condition.name} was not measured{why}, and --fail-if asks for {condition.text}"
    return f"{condition.name} is {_shown(condition, known)}{why}, and --fail-if says {condition.text}"


def _shown(condition: Condition, known: Known) -> str:
    if known.least < known.most:
        return f"at most {known.most:g}"
    if known.least == inf:
        return "beyond any bound"
    return f"{MS * known.least:.0f} ms" if condition.name in OF_POINTS else f"{known.least:g}"
