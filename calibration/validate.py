"""How well predictions meet measurements: errors, their spread, and whether bands hold what they promise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from calibration.fitting.error_sizes import sizes

BAND_OF = {"output_tps": "throughput", "ttft_ms": "ttft", "tpot_ms": "tpot", "e2e_ms": "e2e"}
METRICS = tuple(BAND_OF)
FEWEST = 8  # keys with fewer measurements are held out
SHARED = 5  # in so many folds
DIMENSIONS = ("engine", "gpu", "load", "trust")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, measured and predicted; `low` and `high` bound the prediction where its profile has a band."""

    observed: float
    predicted: float
    low: float | None = None
    high: float | None = None

    @property
    def error(self) -> float:
        """Share by which the prediction is too high."""
        return self.predicted / self.observed - 1

    @property
    def holds(self) -> bool | None:
        """Whether the measurement lies inside the band."""
        return None if self.low is None or self.high is None else self.low <= self.observed <= self.high

    @property
    def width(self) -> float | None:
        """Half of the band, as a share of the prediction: 0.2 is a band of ±20%."""
        return None if self.low is None or self.high is None else (self.high - self.low) / (2 * self.predicted)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measurement beside its prediction."""

    row: int  # line of its file
    source_id: str
    engine: str
    gpu: str
    model: str
    weights: str
    load: str
    load_value: float
    trust: str
    figures: Mapping[str, Figure]  # by metric
    assumed: tuple[str, ...] = ()  # what the row leaves open and how it was taken
    held_out: str | None = None  # what the profile was fitted without


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A measurement that was not compared, and why."""

    row: int
    reason: str
    source_id: str = ""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The errors of many figures. All are fractions, None where there is nothing to say."""

    n: int
    median_abs_error: float | None = None
    p90_abs_error: float | None = None
    bias: float | None = None  # median of the signed errors
    coverage: float | None = None  # share of the measurements inside their bands
    width: float | None = None  # median half width of the bands


@dataclass(frozen=True, slots=True)
class Validation:
    """Everything that was compared, and what was not."""

    rows: tuple[Comparison, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    in_sample: tuple[Comparison, ...] = ()  # the same rows by the profile that has seen them, where `rows` hold out


def banded(observed: float, predicted: float, factors: tuple[float, float] | None) -> Figure:
    """A figure whose band is so many times the prediction; equal factors are no band."""
    if factors is None or factors[0] == factors[1]:
        return Figure(observed, predicted)
    return Figure(observed, predicted, predicted * factors[0], predicted * factors[1])


def accuracy(figures: Iterable[Figure]) -> Accuracy:
    """What the figures of one metric amount to."""
    found = list(figures)
    if not found:
        return Accuracy(0)
    errors = [figure.error for figure in found]
    off = sizes(errors)
    held = [figure.holds for figure in found if figure.holds is not None]
    widths = [figure.width for figure in found if figure.width is not None]
    return Accuracy(
        n=len(found),
        median_abs_error=off.median,
        p90_abs_error=off.p90,
        bias=median(errors),
        coverage=sum(held) / len(held) if held else None,
        width=median(widths) if widths else None,
    )


def summarise(rows: Sequence[Comparison]) -> dict[str, Accuracy]:
    """The accuracy of every metric."""
    return {name: accuracy(row.figures[name] for row in rows if name in row.figures) for name in METRICS}


def grouped(rows: Sequence[Comparison], dimension: str) -> dict[str, dict[str, Accuracy]]:
    """The same for every engine, GPU, load or trust label there is."""
    values = sorted({getattr(row, dimension) for row in rows})
    return {value: summarise([row for row in rows if getattr(row, dimension) == value]) for value in values}


def document(found: Validation) -> dict[str, Any]:
    """The result as plain JSON values."""
    summary: dict[str, Any] = {
        "all": _accuracies(summarise(found.rows)),
        "by": {
            dimension: {value: _accuracies(each) for value, each in grouped(found.rows, dimension).items()}
            for dimension in DIMENSIONS
        },
    }
    if found.in_sample:
        summary["in_sample"] = _accuracies(summarise(found.in_sample))
    return {
        "rows": [_row(row) for row in found.rows],
        "summary": summary,
        "unmapped": [{"row": left.row, "reason": left.reason, "source_id": left.source_id} for left in found.unmapped],
    }


def _accuracies(found: Mapping[str, Accuracy]) -> dict[str, dict[str, Any]]:
    return {name: {key: getattr(each, key) for key in Accuracy.__slots__} for name, each in found.items()}


def _row(row: Comparison) -> dict[str, Any]:
    named = {key: getattr(row, key) for key in Comparison.__slots__ if key not in ("figures", "assumed")}
    figures = {
        name: {
            "observed": one.observed,
            "predicted": one.predicted,
            "error": one.error,
            "low": one.low,
            "high": one.high,
        }
        for name, one in row.figures.items()
    }
    return {**named, "assumed": list(row.assumed), "metrics": figures}


class Fold(NamedTuple):
    """A part of the measurements that a profile is fitted without."""

    fitted: tuple[int, ...]  # places of all others
    held_out: tuple[int, ...]  # places of its own


def folds(keys: Sequence[str]) -> list[Fold]:
    """Every key's measurements held out together; keys with few of them share a fold, so that fits stay few."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    large = [own for own in places.values() if len(own) >= FEWEST]
    small = [own for own in places.values() if len(own) < FEWEST]
    shared = [[place for own in small[part::SHARED] for place in own] for part in range(min(SHARED, len(small)))]
    every = range(len(keys))
    return [
        Fold(tuple(place for place in every if place not in out), tuple(sorted(out)))
        for out in map(set, large + shared)
    ]
