"""Several seeds of one point as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from sim.judging import Judgement, interval
from sim.metrics import PointMetrics


@dataclass(frozen=True, slots=True)
class MergedMetrics:
    """Numbers of the same shape three times: over the seeds together, the lowest seed's and the highest seed's."""

    value: PointMetrics  # counts are summed, everything else is averaged, each seed weighing the same
    low: PointMetrics
    high: PointMetrics
    seeds: int


def merge(points: Sequence[PointMetrics]) -> MergedMetrics:
    """Field by field; a number that some seeds lack is taken over the others.

    Low and high are the extremes of the seeds, not a confidence interval.
    """
    if not points:
        raise ValueError("nothing to merge: at least one seed must have run")
    return MergedMetrics(_each(points, _total), _each(points, min), _each(points, max), len(points))


def judge(seeds: Sequence[PointMetrics]) -> Judgement:
    """Whether a point keeps the SLO."""
    return interval(tuple(share for point in seeds for share in point.batches)).judge()


def _each(values: Sequence[Any], combine: Callable[[list[Any]], Any]) -> Any:
    """Go down to the numbers and combine those of the same place."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    example = present[0]
    if is_dataclass(example):
        names = [field.name for field in fields(example)]
        parts = {name: _each([getattr(value, name) for value in present], combine) for name in names}
        return type(example)(**parts)  # type: ignore[misc]
    if isinstance(example, tuple):
        return tuple(item for value in present for item in value)
    if isinstance(example, dict):
        return {key: _each([value[key] for value in present], combine) for key in example}
    return combine(present)


def _total(values: list[Any]) -> Any:
    if isinstance(values[0], int):
        return sum(values)
    return sum(values) / len(values)
