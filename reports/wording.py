"""Results in words: what was asked, and a verdict on every variant."""

import textwrap
from collections.abc import Sequence
from math import log

from reports.document import Cliff, Document, Point, VariantRow
from reports.traffic import traffic

WIDTH = 100
WIDE_SHARE = 0.15  # of a capacity: wider brackets hold loads that nobody can decide
LEVELS = "▁▂▃▄▅▆▇█"


def heading(document: Document) -> str:
    """What was asked, with the card that the name meant."""
    scenario, catalogue = document.scenario, document.provenance.get("catalogue", {})
    names = [catalogue.get(scenario.get(key), {}).get("name", scenario.get(key)) for key in ("gpu", "model")]
    gpus = f"{scenario['gpus']} × " if scenario.get("gpus", 1) > 1 else ""
    asked = f"{traffic(scenario)}, SLO {scenario.get('slo')} for 95% of requests"
    return wrapped(f"{gpus}{names[0]} ({scenario.get('gpu')}), {names[1]}, {asked}", "")


def verdict(document: Document, row: VariantRow) -> str:
    """A variant in a sentence or two: what it is, how many it carries, what breaks next, why, and how sure that is."""
    if row.status != "ok":
        return wrapped(f"{row.id}: {row.reason}")
    cliff = next((found for found in document.cliffs if found.variant == row.id), None)
    said = "no capacity: the load is not a number of users"
    if cliff is not None:
        said = f"{_carried(cliff, str(document.scenario.get('slo')), _open_load(document, cliff))}{_why(cliff)}"
    named = row.id if row.id.endswith(f"@{row.version}") else f"{row.id} {row.version}"
    return wrapped(f"{named} {_nature(row)}: {said} [{row.trust}]")


def _open_load(document: Document, cliff: Cliff) -> int | None:
    """The first load beyond the capacity of which nobody can say whether it is carried."""
    undecided = (point for point in document.points if point.judgement == "undecided")
    loads = (point.users for point in undecided if point.variant == cliff.variant and point.users)
    return min((users for users in loads if users > (cliff.capacity_users or 0)), default=None)


def _nature(row: VariantRow) -> str:
    """Quantisation, slots or blocks, and context: what makes two variants hard to compare."""
    parts = [row.weights.upper()]
    if row.memory is not None:
        if row.memory.slots is not None:
            parts.append(f"{row.memory.slots} slot{'s' * (row.memory.slots != 1)}")
        if row.memory.blocks is not None:
            parts.append(f"{row.memory.blocks:,} blocks")
        parts.append(f"context {row.memory.context:,}")
        if row.memory.layers_on_host:
            parts.append(f"{row.memory.layers_on_host} layers on the host")
    return f"({', '.join(parts)})"


def _carried(cliff: Cliff, slo: str, open_load: int | None) -> str:
    if cliff.stability_rate is not None:
        return f"keeps up with {cliff.stability_rate:.3g} requests a second; beyond, they pile up"
    if cliff.first_failing_users is None:
        return _unbroken(cliff, open_load)
    broken = _broken(cliff, slo)
    if cliff.capacity_users is None:
        return f"carries fewer than {cliff.first_failing_users}: there {broken}"
    if cliff.capacity_users == 0:
        return f"does not carry a single user within the SLO: {broken}"
    band = "" if cliff.low is None or cliff.high is None else f" ({cliff.low}-{cliff.high})"
    return f"carries {cliff.capacity_users}{band} at once{_people(cliff)}; at {cliff.first_failing_users} {broken}"


def _unbroken(cliff: Cliff, open_load: int | None) -> str:
    """Where no load surely breaks the SLO."""
    if cliff.status != "not_reached":
        return "nothing measured surely keeps the SLO and nothing surely breaks it"
    if open_load is not None:
        return f"carries {cliff.capacity_users} at once{_people(cliff)}; at {open_load} it is too close to call"
    return f"carries {cliff.capacity_users} at once and more{_people(cliff)}: no tested load breaks the SLO"


def _broken(cliff: Cliff, slo: str) -> str:
    """What gives way, with its bound as the scenario states it."""
    bounds = dict(part.split("=", 1) for part in slo.split(",") if "=" in part)
    if cliff.breached in bounds:
        limit_ms = float(bounds[cliff.breached].removesuffix("ms"))
        limit = f"{limit_ms / 1000:g} s" if limit_ms >= 1000 else f"{limit_ms:g} ms"
        return f"{cliff.breached.upper()} passes {limit}"
    return "requests get no answer" if cliff.breached == "finished" else "the SLO breaks"


def _why(cliff: Cliff) -> str:
    """The cause, and what moving its knob gave."""
    if cliff.cause is None or cliff.stability_rate is not None:
        return ""
    said = f": {cliff.cause}" + (f", {cliff.reason}" if cliff.reason else "")
    moved = cliff.counterfactual
    if moved is not None:
        before = f": {_known(cliff)} → " if cliff.capacity_users else " would carry "
        users = "user" if moved.capacity_users == 1 else "users"
        return f"{said}; {moved.change}{before}{moved.capacity_users} {users}"
    return f"{said}; {cliff.knob} gains nothing" if cliff.knob else said


def _known(cliff: Cliff) -> str:
    """The capacity, or what it lies between where loads are too close to call."""
    passing, failing = cliff.capacity_users or 0, cliff.first_failing_users or 0
    return str(passing) if failing - passing <= max(1, WIDE_SHARE * passing) else f"{passing} to {failing - 1}"


def _people(cliff: Cliff) -> str:
    """Streams kept in flight as the number of people behind them."""
    if cliff.people is None or cliff.people == cliff.capacity_users:
        return ""
    return f", about {cliff.people} people pausing 20 s between messages"


def wrapped(text: str, indent: str = "    ") -> str:
    """The text within the width of a table."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def spark(values: Sequence[float | None], *, logarithmic: bool = False) -> str:
    """A curve in one line of blocks, from the smallest value to the largest."""
    known = [log(value) if logarithmic else value for value in values if value]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    step = (len(LEVELS) - 1) / span if span else 0.0
    return "".join(
        LEVELS[round(((log(value) if logarithmic else value) - low) * step)] if value else " " for value in values
    )


def curves(points: Sequence[Point]) -> str:
    """Throughput and the wait for the first token over the loads, where there are enough of them to see a shape."""
    if len(points) < 3:
        return ""
    speed = spark([point.output_tps.value for point in points])
    wait = spark([point.ttft_ms.p99 for point in points], logarithmic=True)
    return f"   tok/s {speed}   TTFT p99 {wait}"
