"""What `simctl calibrate` says of a fit: how near it came to the measurements, and which it met least."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from calibration.bands import Miss
from calibration.error_sizes import sizes_of_logarithms
from calibration.fit import Fit, predicted_errors
from calibration.profile import load
from reports.tables import Table, aligned

SHOWN = 8
LONGEST = 70  # characters of a reason


def account(fit: Fit, checked: Sequence[Miss], own: Collection[str]) -> str:
    """Errors by source, the points that pulled the most, and what could not be used; of the files' alone if any."""
    chosen = [index for index, one in enumerate(fit.observations) if not own or one.point.source_id in own]
    parts = [aligned(errors_table(fit, checked, chosen, before=bool(own))), aligned(pulls_table(fit, chosen))]
    if unusable := [(point, why) for point, why in fit.unusable if not own or point.source_id in own]:
        counts = Counter((point.source_id, shortened(why)) for point, why in unusable)
        rows = tuple((source, f"{count:,}", reason) for (source, reason), count in counts.most_common(SHOWN))
        title = "Points that say nothing of a step's time, or that physics refuses"
        parts.append(aligned(Table(title, ("source", "points", "why"), rows)))
    return "\n\n".join(parts) + "\n"


def errors_table(fit: Fit, checked: Sequence[Miss], chosen: Sequence[int], *, before: bool) -> Table:
    """By source: what the shipped profile makes of its points, what this one does, and fits without them."""
    ways = list(dict.fromkeys(miss.held_out for miss in checked))
    shipped = predicted_errors(load("measured"), [fit.observations[index] for index in chosen]) if before else ()
    rows = []
    for source in sorted({fit.observations[index].point.source_id for index in chosen}):
        places = [place for place, index in enumerate(chosen) if fit.observations[index].point.source_id == source]
        told = [[shipped[place] for place in places]] if before else []
        told += [[fit.errors[chosen[place]] for place in places], *(missed(checked, way, source) for way in ways)]
        rows.append((source, f"{len(places):,}", *map(sizes, told)))
    header = ("source", "points", *(("shipped profile",) * before), "in sample", *(f"without {way}" for way in ways))
    return Table("Errors of times, median / 90th percentile", header, tuple(rows))


def missed(checked: Sequence[Miss], way: str, source: str) -> list[float]:
    """Errors of a source's points that were held out in this way."""
    return [miss.error for miss in checked if miss.held_out == way and miss.observation.point.source_id == source]


def sizes(errors: Sequence[float]) -> str:
    if not errors:
        return "-"
    off = sizes_of_logarithms(errors)
    return f"{100 * off.median:.1f}% / {100 * off.p90:.0f}%"


def pulls_table(fit: Fit, chosen: Sequence[int]) -> Table:
    """The points that the profile meets least: they pulled it towards themselves, or are wrong."""
    rows = []
    for index in sorted(chosen, key=lambda index: -abs(fit.errors[index]))[:SHOWN]:
        point, off = fit.observations[index].point, fit.errors[index]
        what = f"{point.engine} {point.model} {point.weights}".strip()
        rows.append((point.source_id, point.gpu, what, f"{point.load}:{point.load_value:g}", f"{np.expm1(off):+.0%}"))
    return Table("Points that are met least", ("source", "gpu", "what", "load", "predicted is"), tuple(rows))


def shortened(reason: str) -> str:
    return reason if len(reason) < LONGEST else reason[: LONGEST - 3] + "..."
