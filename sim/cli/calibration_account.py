"""What `simctl calibrate` says of a fit: how near it came to the measurements, and which it met least."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from calibration.fit import Fit, predicted_errors
from calibration.fitting.bands import Miss
from calibration.fitting.error_sizes import sizes_of_logarithms
from calibration.fitting.observations import Observation
from calibration.points import Point
from calibration.profile import load
from reports.tables import Table, aligned
from sim.cli.own_loads import Loads

SHOWN = 8
LONGEST = 70  # characters of a reason


Met = Sequence[tuple[Observation, float]]  # and by how much, as a logarithm


def account(fit: Fit, loads: Loads, checked: Sequence[Miss], own: Collection[str]) -> str:
    """Errors by source, the points that pulled the most, and what could not be used: of one's own files, if any."""
    met = [pair for pair in zip(fit.observations, fit.errors, strict=True) if of_interest(pair[0].point, own)]
    unusable = [(point, why) for point, why in fit.unusable if of_interest(point, own)]
    tables = [errors_table(met, checked, before=bool(own)), pulls_table(met)] if met else []
    tables += [loads_table(loads)] if loads.cases else []
    tables += [unusable_table(unusable)] if unusable else []
    return "\n\n".join(map(aligned, tables)) + "\n"


def of_interest(point: Point, own: Collection[str]) -> bool:
    return not own or point.source_id in own


def errors_table(met: Met, checked: Sequence[Miss], *, before: bool) -> Table:
    """By source: what the shipped profile makes of its points, what this one does, and fits without them."""
    own = [one.point.source_id for one, _ in met]
    columns: dict[str, list[tuple[str, float]]] = {}
    if before:
        shipped = predicted_errors(load("measured"), [one for one, _ in met])
        columns["shipped profile"] = list(zip(own, shipped, strict=True))
    columns["in sample"] = [(source, off) for source, (_, off) in zip(own, met, strict=True)]
    for miss in checked:
        columns.setdefault(f"without {miss.held_out}", []).append((miss.observation.point.source_id, miss.error))
    rows = [
        (name, f"{count:,}", *(sizes([off for source, off in of if source == name]) for of in columns.values()))
        for name, count in sorted(Counter(own).items())
    ]
    return Table("Errors of times, median / 90th percentile", ("source", "points", *columns), tuple(rows))


def sizes(errors: Sequence[float]) -> str:
    if not errors:
        return "-"
    off = sizes_of_logarithms(errors)
    return f"{100 * off.median:.1f}% / {100 * off.p90:.0f}%"


def loads_table(loads: Loads) -> Table:
    """By card: what the shipped profile makes of the loads, what this one does, and what made the difference."""
    cards = [case.server.variant.gpu for case in loads.cases]
    rows = []
    for gpu, around in loads.around.items():
        mine = [index for index, other in enumerate(cards) if other == gpu]
        errors = (sizes(errors[mine].tolist()) for errors in (loads.shipped, loads.fitted))
        rows.append((gpu, f"{len(mine):,}", *errors, str(around)))
    columns = ("gpu", "loads", "shipped profile", "in sample", "around the passes")
    return Table("Errors of loads of servers of slots, median / 90th percentile", columns, tuple(rows))


def pulls_table(met: Met) -> Table:
    """The points that the profile meets least: they pulled it towards themselves, or are wrong."""
    rows = []
    for one, off in sorted(met, key=lambda pair: -abs(pair[1]))[:SHOWN]:
        point = one.point
        what = f"{point.engine} {point.model} {point.weights}".strip()
        rows.append((point.source_id, point.gpu, what, f"{point.load}:{point.load_value:g}", f"{np.expm1(off):+.0%}"))
    return Table("Points that are met least", ("source", "gpu", "what", "load", "predicted is"), tuple(rows))


def unusable_table(unusable: Sequence[tuple[Point, str]]) -> Table:
    counts = Counter((point.source_id, shortened(why)) for point, why in unusable)
    rows = tuple((source, f"{count:,}", why) for (source, why), count in counts.most_common(SHOWN))
    return Table("Points that say nothing of a step's time, or that physics refuses", ("source", "points", "why"), rows)


def shortened(reason: str) -> str:
    return reason if len(reason) < LONGEST else reason[: LONGEST - 3] + "..."
