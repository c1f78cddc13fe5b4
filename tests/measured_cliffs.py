"""The page of measured cliffs beside predicted ones: printed, or written with --write."""

import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests import cliff_load_test, cliff_published, cliff_readings, cliff_recorded, cliff_slots
from tests.cliff_readings import READINGS, Cliff
from tests.cliff_sources import BEYOND, SERIES
from tests.cliff_words import TEXT
from tests.pages import print_or_write
from tests.slots import FREE_GIB

PAGE = Path(__file__).parents[1] / "docs" / "measured-cliffs.md"


def cliffs() -> list[Cliff]:
    """Every cliff of the sources named on the page that has levels on both sides of it."""
    return [
        *map(cliff_slots.cliff, cliff_slots.MODELS),
        *map(cliff_published.cliff, SERIES),
        *cliff_recorded.cliffs(),
        cliff_load_test.cliff(),
    ]


def beyond() -> list[Cliff]:
    """What was measured beyond saturation alone."""
    return list(map(cliff_published.cliff, BEYOND))


def median_error_percent(found: Sequence[Cliff]) -> float:
    """Of the positions."""
    return statistics.median(abs(one.error_percent) for one in found)


def page(found: Sequence[Cliff], more: Sequence[Cliff]) -> str:
    """The whole page."""
    by_source = {name: [one for one in found if one.source == name] for name in {one.source for one in found}}
    by_reading = {name: [one for one in found if one.reading == name] for name in READINGS}
    return TEXT.format(
        count=len(found),
        median=median_error_percent(found),
        by_source=statistics.median(map(median_error_percent, by_source.values())),
        sources=len(by_source),
        free=FREE_GIB,
        within=sum(abs(one.error_percent) <= 15 for one in found),
        agree=sum(one.agrees for one in found),
        largest=sum(one.causes.largest == one.seen for one in found),
        rows="\n".join(map(_row, found)),
        readings="\n".join(f"* **{name}**: {words}." for name, words in READINGS.items()),
        medians="\n".join(
            f"| {name} | {len(each)} | {median_error_percent(each):.1f}% |" for name, each in by_reading.items() if each
        ),
        beyond="\n".join(map(_row, more)),
        pairs=_rate_errors(one for one in found if ", 2× A100" in one.server),
        eights=_rate_errors(one for one in found if ", 8× H100" in one.server),
        plateaus="\n".join(_plateau_row(number) for number, one in enumerate(SERIES) if one.waits),
        fitting="\n".join(_fitting_row(model) for model in (*cliff_slots.MODELS, cliff_slots.NONE_SEEN)),
    )


def _rate_errors(some: Iterable[Cliff]) -> tuple[float, float]:
    """From the smallest to the largest."""
    errors = [one.rate_error_percent or 0.0 for one in some]
    return min(errors), max(errors)


def _row(one: Cliff) -> str:
    causes = f"{one.seen}" if one.agrees else f"**{one.seen} · {one.causes.holding or 'none'}**"
    speed = "" if one.rate_error_percent is None else f"{one.rate_error_percent:+.0f}%"
    positions = f"{_position(one.measured)} | {_position(one.predicted)} | {one.error_percent:+.0f}%"
    return f"| {one.server} | {one.reading} | {positions} | {causes} | {one.shown} | {speed} |"


def _position(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"


def _fitting_row(model: str) -> str:
    last, fallen = cliff_readings.slots({at: row.output_tps or 0.0 for at, row in cliff_slots.measured(model).items()})
    fits, on_all = cliff_slots.fitting(model), cliff_slots.fitting(model, cliff_slots.WHOLE_CARD_BYTES)
    return f"| {model} | {last} | {fallen or 'none tested'} | {fits} | {on_all} |"


def _plateau_row(number: int) -> str:
    series = SERIES[number]
    measured, predicted = map(cliff_readings.plateau, cliff_published.rates(cliff_published.levels(series)))
    error = 100 * (predicted / measured - 1)
    return f"| {series.server} | {_position(measured)} | {_position(predicted)} | {error:+.0f}% |"


if __name__ == "__main__":
    sys.exit(print_or_write(page(cliffs(), beyond()), PAGE, sys.argv[1:]))
