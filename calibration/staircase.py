"""What the formula misses, by rows: kernels are chosen by the number of rows, so that real step times climb in stairs.

The residuals of decode steps are spread over curves, one for every scope from the kernels down to one model on one
card; each is held to the curve around it, so that a new model gets its card's and a new card its class's.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import spsolve

from calibration.observations import Observation
from calibration.scopes import widening

NODES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
STEPS = ("decode_step", "microbatch", "single")
FROM_DEPTH = 3  # the vendor's kernels: wider scopes have nothing in common
SPREAD = {3: 0.1, 4: 0.1, 5: 0.1, 6: 0.1}
NOISE = 0.05
LEAST = 1e-3  # smaller corrections are left out


def staircases(observations: Sequence[Observation], errors: Sequence[float]) -> dict[str, dict[float, float]]:
    """Curves of measured over predicted time, by scope and rows; `errors` are logarithms of predicted over measured."""
    chosen = [(one, -error) for one, error in zip(observations, errors, strict=True) if is_step(one)]
    columns: dict[tuple[str, float], int] = {}
    rows = [{columns.setdefault(key, len(columns)): share for key, share in parts(one)} for one, _ in chosen]
    if not rows:
        return {}
    places = [(row, column) for row, shares in enumerate(rows) for column in shares]
    values = [share for shares in rows for share in shares.values()]
    matrix = csr_array((values, tuple(np.array(places).T)), (len(rows), len(columns)))
    found = ridge(matrix, np.array([missed for _, missed in chosen]), np.array([spread(scope) for scope, _ in columns]))
    return curves(dict(zip(columns, found.tolist(), strict=True)))


def is_step(one: Observation) -> bool:
    """Whether the time is that of decode rows, which have stairs."""
    return one.point.load in STEPS and bool(one.passes[0][1].decodes)


def parts(one: Observation) -> list[tuple[tuple[str, float], float]]:
    """The nodes that a step lies between on each of its curves, and its share of them."""
    count = max(1.0, one.passes[0][1].decodes)
    return [((scope, node), share) for scope in scopes(one) for node, share in between(count)]


def scopes(one: Observation) -> tuple[str, ...]:
    family = one.family
    path = (family.kernels, family.memory_class, family.vendor, family.weights, family.gpu, one.model)
    found = widening(*path)[FROM_DEPTH - 1 :]
    # how experts are spread over rows is the formula's to say: what it misses of them is not for dense models
    return found[-1:] if one.facts.expert_share else found


def between(count: float) -> list[tuple[float, float]]:
    """A number of rows as shares of the two nodes around it."""
    if count >= NODES[-1]:
        return [(NODES[-1], 1.0)]
    upper = next(node for node in NODES if node > count)
    lower = upper / 2
    share = log(count / lower) / log(2)
    return [(lower, 1 - share), (upper, share)] if share else [(lower, 1.0)]


def spread(scope: str) -> float:
    return SPREAD[scope.count("/") + 1]


def ridge(matrix: Any, missed: Any, spreads: Any) -> Any:
    """The corrections that explain what was missed, each held to none."""
    normal = matrix.T @ matrix / NOISE**2 + diags_array(spreads**-2.0)
    return spsolve(normal.tocsc(), matrix.T @ missed / NOISE**2)


def curves(found: Mapping[tuple[str, float], float]) -> dict[str, dict[float, float]]:
    """Factors by scope and rows, without the scopes that correct nothing."""
    result: dict[str, dict[float, float]] = {}
    for (scope, node), value in sorted(found.items()):
        result.setdefault(scope, {})[node] = float(np.exp(value))
    return {scope: curve for scope, curve in result.items() if max(abs(log(f)) for f in curve.values()) > LEAST}


def corrections(observations: Sequence[Observation], stairs: Mapping[str, Mapping[float, float]]) -> Any:
    """The logarithm that the curves add to each observation's time."""
    return np.array(
        [
            sum(share * log(stairs.get(scope, {}).get(node, 1.0)) for (scope, node), share in parts(one))
            if is_step(one)
            else 0.0
            for one in observations
        ]
    )
