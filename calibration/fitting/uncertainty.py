"""How sure each coefficient is: the fit repeated on sources drawn anew, as other laboratories might have been."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from calibration.fit import coefficients
from calibration.fitting.least_squares import FOR_CHECKS, Problem
from calibration.fitting.observations import Observation, own_sources

LOW, HIGH = 0.1, 0.9


def bootstrap(
    observations: Sequence[Observation], resamples: int, seed: int = 0
) -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """The 10th and 90th percentile of every part of a coefficient over the resamples; a part unseen counts as 1."""
    by_source: dict[str, list[Observation]] = defaultdict(list)
    for one in observations:
        by_source[one.point.source_id].append(one)
    chance = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        sample = _resample(by_source, chance)
        drawn.append(coefficients(Problem(sample, own_sources(sample)).solved(FOR_CHECKS), sample))
    scopes = sorted({(name, path) for values in drawn for name, parts in values.items() for path in parts})
    spread: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for name, path in scopes:
        values = [parts[name][path] for parts in drawn if path in parts.get(name, {})]
        low, high = np.quantile(values, (LOW, HIGH))
        spread[name][path] = float(low), float(high)
    return spread


def _resample(by_source: Mapping[str, list[Observation]], chance: np.random.Generator) -> list[Observation]:
    names = list(by_source)
    return [one for pick in chance.integers(len(names), size=len(names)) for one in by_source[names[pick]]]
