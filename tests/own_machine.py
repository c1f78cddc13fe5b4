"""What loads of one's own server are worth: a machine's bursts of six models tell the seventh's; printed or written."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from calibration import catalog, profile, sources
from sim.cli.measured import serving
from sim.cli.own_loads import loads_among
from tests import slots
from tests.pages import print_or_write

PAGE = Path(__file__).parents[1] / "docs" / "own-machine.md"


@dataclass(frozen=True, slots=True)
class Worth:
    """A model's bursts, told by the shipped profile and by one that has seen the machine's other models."""

    model: str
    around: serving.Around  # what those others say of the machine
    shipped: slots.Told
    own: slots.Told


@cache
def worth(model: str) -> Worth:
    """What the others' loads are worth to a model."""
    found, around = without(model)
    own = slots.tell(model, cache(lambda name, count: slots.played(name, count, found)))
    return Worth(model, around, slots.tell(model), own)


def without(model: str) -> tuple[profile.Profile, serving.Around]:
    """The profile that the machine's loads of all other models make of the shipped one."""
    points = [point for point in sources.load(slots.SOURCE) if slots.ANOTHER_MODEL not in point.notes]
    loads, _ = loads_among([point for point in points if point.model != model])
    found, around = serving.with_own_servers(profile.load("measured"), loads)
    (only,) = around.values()
    return found, only


def page() -> str:
    """The whole page."""
    return TEXT.format(table="\n".join(_row(worth(model)) for model in slots.measured()))


def _row(one: Worth) -> str:
    told = [told for each in (one.shipped, one.own) for told in (_percent(each.below), _factors(each.above))]
    return f"| {catalog.model(one.model).name} | {' | '.join(told[:2])} | {' | '.join(told[2:])} | {one.around} |"


def _percent(ratios: Iterable[float]) -> str:
    return f"{100 * (median(ratios) - 1):+.0f}%"


def _factors(ratios: tuple[float, ...]) -> str:
    return f"{median(ratios):.2f} (up to {max(ratios):.2f})" if ratios else "-"


TEXT = """# Your own machine: what calibrating on its loads gains

A machine differs from those that the profile was fitted to: another operating system, a slower processor, another
client. `simctl calibrate` simulates the loads of a server with slots (llama.cpp, Ollama) and adjusts two figures of the
machine until they last as measured: the time of a step outside its passes, and that of each row. Here it does so on
the machine of [slots.md](slots.md), an RTX 4060 Ti under Windows, with Ollama's bursts of six models, and the seventh
is predicted: no profile has seen a measurement of it on this machine. `tests/test_own_machine.py` holds the page,
`python -m tests.own_machine --write` makes it.

| model | below, shipped profile | above | below, six other models known | above | host cost fitted from the six |
|--|--|--|--|--|--|
{table}

*Below* the collapse and *above* it are as in slots.md: simulated beside measured, the median over numbers of slots.
"""


if __name__ == "__main__":
    sys.exit(print_or_write(page(), PAGE, sys.argv[1:]))
