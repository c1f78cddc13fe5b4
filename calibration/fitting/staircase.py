"""What the formula misses, by rows: kernels are chosen by the number of rows, so that real step times climb in stairs.

The residuals of decode steps, and of batches that mostly are decode steps, are spread over curves, one for every scope
from a vendor's kernels down to one model on one card; each is held to the curve around it, so that a new model gets its
card's and a new card its class's. A curve is a factor on the pass; cells, prompts and the host's work have none.
"""

from collections.abc import Mapping, Sequence
from math import exp, log, prod
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import spsolve

from calibration.fitting.observations import Observation
from calibration.profile import Steps, at
from calibration.scopes import stairs
from calibration.terms import Work

NODES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
LOADS = ("decode_step", "microbatch", "single", "offline", "burst")
SPREAD = 0.1  # by how much a curve differs from the one around it
NOISE = 0.05
LEAST = 1e-3  # smaller corrections are left out
MOST = 0.5  # a larger miss is rather a mistake than a stair

Curves = Mapping[str, Steps]


def staircases(
    observations: Sequence[Observation], errors: Sequence[float], shares: Sequence[float]
) -> dict[str, Steps]:
    """Curves of measured over predicted time, by scope and rows.

    `errors` are logarithms of predicted over measured; `shares` say how much of each time a curve moves.
    """
    chosen = [index for index, one in enumerate(observations) if rows_of(one)]
    columns: dict[tuple[str, float], int] = {}
    rows = [{columns.setdefault(key, len(columns)): share for key, share in parts(observations[i])} for i in chosen]
    if not rows:
        return {}
    places = [(row, column) for row, found in enumerate(rows) for column in found]
    values = [shares[index] * share for index, found in zip(chosen, rows, strict=True) for share in found.values()]
    matrix = csr_array((values, tuple(np.array(places).T)), (len(rows), len(columns)))
    found = ridge(matrix, np.clip([-errors[index] for index in chosen], -MOST, MOST))
    return curves(dict(zip(columns, found.tolist(), strict=True)))


def rows_of(one: Observation) -> float:
    """How many rows the steps have that a time is made of; 0 where it is not steps'."""
    return max((work.decodes for _, work in one.passes), default=0.0) if one.point.load in LOADS else 0.0


def parts(one: Observation) -> list[tuple[tuple[str, float], float]]:
    """The nodes that a step lies between on each of its curves, and its share of them."""
    nodes = between(max(1.0, rows_of(one)))
    return [((scope, node), share) for scope in stairs(one.family, one.model) for node, share in nodes]


def between(count: float) -> list[tuple[float, float]]:
    """A number of rows as shares of the two nodes around it."""
    if count >= NODES[-1]:
        return [(NODES[-1], 1.0)]
    upper = next(node for node in NODES if node > count)
    lower = upper / 2
    share = log(count / lower) / log(2)
    return [(lower, 1 - share), (upper, share)] if share else [(lower, 1.0)]


def ridge(matrix: Any, missed: Any) -> Any:
    """The corrections that explain what was missed, each held to none."""
    normal = matrix.T @ matrix / NOISE**2 + diags_array(np.full(matrix.shape[1], SPREAD**-2.0))
    return spsolve(normal.tocsc(), matrix.T @ missed / NOISE**2)


def curves(found: Mapping[tuple[str, float], float]) -> dict[str, Steps]:
    """Factors by scope and rows, without the scopes that correct nothing."""
    result: dict[str, Steps] = {}
    for (scope, node), value in sorted(found.items()):
        result[scope] = (*result.get(scope, ()), (node, exp(value)))
    return {scope: curve for scope, curve in result.items() if max(abs(log(f)) for _, f in curve) > LEAST}


def factors(observations: Sequence[Observation], known: Curves) -> Any:
    """What the curves make of every pass of every observation: those of decodes alone are so much longer."""
    return np.array([factor(one, work, known) for one in observations for _, work in one.passes])


def factor(one: Observation, work: Work, known: Curves) -> float:
    """The same of one pass."""
    if not work.decodes or work.prompt:
        return 1.0
    return prod(at(known[scope], max(1.0, work.decodes)) for scope in stairs(one.family, one.model) if scope in known)
