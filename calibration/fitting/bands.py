"""How far predictions may be off: from measurements that the fit had not seen, by how near it had come to them.

Every measurement is predicted by fits that lack it alone, its card, its model, or its source. What such a fit knows of
it decides the label: so a band holds for the label whatever was left out.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from calibration.fit import fitted_profile, predicted_errors
from calibration.fitting.least_squares import FOR_CHECKS
from calibration.fitting.observations import KERNELS, Observation, by_kernels
from calibration.profile import Profile, band_label
from calibration.sources import laboratory
from calibration.validate import BAND_OF

# What lies between these holds four of five of nearly every laboratory's figures. Of all together it holds nine of ten:
# between the 10th and the 90th percentile one laboratory in three would have fewer than four of five.
LOW, HIGH = 0.04, 0.96
OF_SERVERS = 0.1, 0.9  # whole servers were measured by few laboratories; far out stand those that were overloaded
FEWEST = 8  # cards, models or sources with fewer rows are left out together
PARTS = 5
HELD_OUT: Mapping[str, Callable[[Observation], str]] = {
    "gpu": lambda one: one.family.gpu,
    "model": lambda one: one.model,
    "source": lambda one: one.point.source_id,
}


class Miss(NamedTuple):
    """One prediction by a fit that had not seen the measurement."""

    held_out: str  # row, gpu, model or source
    trust: str
    observation: Observation
    error: float  # logarithm of predicted over measured
    known_card: bool  # the fit had seen the card


def folds(observations: Sequence[Observation], held_out: str) -> Iterator[tuple[list[int], list[int]]]:
    """Which observations to fit and which to predict: each card, model or source once; small ones together."""
    every = range(len(observations))
    if held_out == "row":
        gathered = [list(every[part::PARTS]) for part in range(PARTS)]
    else:
        groups: dict[str, list[int]] = defaultdict(list)
        for index, one in enumerate(observations):
            groups[HELD_OUT[held_out](one)].append(index)
        gathered = [members for members in groups.values() if len(members) >= FEWEST]
        small = [members for members in groups.values() if len(members) < FEWEST]
        gathered += [list(chain.from_iterable(small[part::PARTS])) for part in range(min(PARTS, len(small)))]
    for members in gathered:
        out = set(members)
        rest = [index for index in every if index not in out]
        if rest and members:
            yield rest, members


def misses(observations: Sequence[Observation], held_out: str) -> list[Miss]:
    """Predictions of every observation by fits without it, or without its card, model or source."""
    found = []
    for alike in by_kernels(observations):
        for known, unknown in folds(alike, held_out):
            profile = fitted_profile([alike[index] for index in known], close_enough=FOR_CHECKS)
            others = [alike[index] for index in unknown]
            found += predicted(held_out, profile, others)
    return found


def predicted(held_out: str, profile: Profile, unseen: Sequence[Observation]) -> list[Miss]:
    """What a profile makes of observations that were held out of its fit."""
    errors = predicted_errors(profile, unseen)
    return [
        Miss(held_out, trust(profile, one), one, float(error), profile.knows_card(one.family))
        for one, error in zip(unseen, errors, strict=True)
    ]


def trust(profile: Profile, one: Observation) -> str:
    """The label that a profile gives to predictions of an observation."""
    return profile.trust_in(one.family, one.model)


def bands(found: Sequence[Miss]) -> dict[str, dict[str, tuple[float, float]]]:
    """Factors on predictions between which four of five measurements lie, by kernels and label, and by metric."""
    result: dict[str, dict[str, tuple[float, float]]] = {}
    grouped: dict[str, list[Miss]] = defaultdict(list)
    for miss in found:
        grouped[band_label(miss.observation.family.kernels, miss.trust)].append(miss)
    for label, alike in sorted(grouped.items()):
        prompts = [miss for miss in alike if miss.observation.of_prompts]
        steps = [miss for miss in alike if not miss.observation.of_prompts] or prompts
        low, high = band(steps)
        result[label] = {
            "step": (low, high),
            "tpot": (low, high),
            "e2e": (low, high),
            "throughput": (1 / high, 1 / low),
        }
        result[label]["ttft"] = widest(band(prompts), (low, high)) if prompts else (low, high)
    return result


def band(found: Sequence[Miss]) -> tuple[float, float]:
    """The quantiles of measured over predicted, of steps."""
    source_ids = [miss.observation.point.source_id for miss in found]
    return factors(source_ids, [miss.error for miss in found], (LOW, HIGH))


def factors(source_ids: Sequence[str], errors: Sequence[float], at: Sequence[float]) -> tuple[float, float]:
    """The quantiles of measured over predicted; every laboratory counts like the fourth root of its rows.

    One that timed kernels by the thousand says little of how far others' servers are off.
    """
    laboratories = [laboratory(source_id) for source_id in source_ids]
    counts = Counter(laboratories)
    weights = np.array([counts[name] ** -0.75 for name in laboratories])
    low, high = weighted_quantiles(-np.array(errors), weights, at)
    return float(np.exp(min(low, 0.0))), float(np.exp(max(high, 0.0)))


def weighted_quantiles(values: Any, weights: Any, at: Sequence[float]) -> Any:
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return np.interp(at, share, values[order])


def of_servers(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, tuple[float, float]]]:
    """The same from predictions of whole servers that the fits behind them had not seen."""
    errors: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        for metric, figures in row["metrics"].items():
            if metric in BAND_OF and figures["error"] > -1:
                key = band_label(KERNELS[row["engine"]], row["trust"]), BAND_OF[metric]
                errors[key].append((row["source_id"], float(np.log1p(figures["error"]))))
    result: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for (label, metric), found in sorted(errors.items()):
        result[label][metric] = factors([source for source, _ in found], [error for _, error in found], OF_SERVERS)
    return dict(result)


def no_surer_than_rates(factors: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """A label's bands, where the time of a whole request is no surer than the rate at which tokens come."""
    slowest, fastest = factors["throughput"]
    return {**factors, "e2e": widest(factors["e2e"], (1 / fastest, 1 / slowest))}


def widest(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])
