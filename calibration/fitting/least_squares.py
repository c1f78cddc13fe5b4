"""Coefficients from measurements: robust least squares on the logarithm of times, each correction held to a prior.

A coefficient is a product along its path (scopes.py). Wide scopes are free to move; corrections of narrower ones have
to be worth it. Every laboratory may be slower or faster as a whole, so that its habits do not bend the physics.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_array, diags_array

from calibration.fitting.observations import Observation
from calibration.fitting.priors import LABORATORY, expected, spread
from calibration.scopes import ATTENTION, COEFFICIENTS, EFFICIENCIES, MIXED, machine, own, paths
from calibration.sources import sources
from calibration.terms import MICRO, NANO, Facts, Kernels, Work, cells_s, pass_s

Array = Any

OVER_RATE = 0.02  # an efficiency above 1 means that the data sheet is wrong, which it seldom is
NOISE = 0.05  # a residual of so much counts in full; far larger ones count like their root
STEP = 1e-4  # of a logarithm, for a derivative
RATES = (*EFFICIENCIES, *ATTENTION, *MIXED, "link_efficiency")
MOST_STEPS = 60
CLOSE_ENOUGH = 1e-7  # the largest change of a logarithm in the last step
FOR_CHECKS = 1e-4  # the same where the fit only serves to predict what it has not seen
LEAST_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class Solution:
    """Logarithms of the parts of coefficients, by coefficient and path; and of the laboratories' own factors."""

    parts: Mapping[tuple[str, str], float]
    laboratories: Mapping[str, float]


class Problem:
    """The observations as arrays, and which parameters each of them depends on."""

    def __init__(self, observations: Sequence[Observation], own: Collection[str] = ()) -> None:
        self.observations = observations
        self.own = own  # sources whose machine has corrections of its own
        rows = [(index, times, *work) for index, one in enumerate(observations) for times, work in one.passes]
        table = np.array(rows, dtype=float)
        self.owner = table[:, 0].astype(int)
        self.times = table[:, 1]
        self.stairs = np.ones(len(table))  # factors on passes, where curves by rows are known
        self.work = Work(*table[:, 2:].T)
        self.facts = Facts(*np.array([one.facts for one in observations], dtype=float)[self.owner].T)
        self.hosted = np.array([one.hosted for one in observations])[self.owner]
        self.listed = self.work.cells * np.array([one.lists_blocks for one in observations])[self.owner]
        self.measured = np.log([one.measured_s for one in observations])
        self._number_parameters()
        self.weights = row_weights(observations)

    def _number_parameters(self) -> None:
        """Which parameters make up each coefficient of each observation."""
        self.keys: dict[tuple[str, str], int] = {}
        chains = {name: [self._chain(name, one) for one in self.observations] for name in (*COEFFICIENTS, LABORATORY)}
        matrices = {name: self._made_of(found) for name, found in chains.items()}
        self.laboratory = matrices.pop(LABORATORY)
        self.members = matrices
        # one row for every efficiency that occurs: where its parts come to more than 0 it breaks the bound
        self.rates = self._made_of(sorted({parts for name in RATES for parts in chains[name]}))
        self.expected = np.array([expected(*key) for key in self.keys])
        self.spread = np.array([spread(*key) for key in self.keys])

    def _chain(self, name: str, one: Observation) -> tuple[int, ...]:
        """The parameters that make up one observation's coefficient, or its laboratory's."""
        scopes = (one.point.source_id,) if name == LABORATORY else scopes_of(name, one, self.own)
        return tuple(self.keys.setdefault((name, scope), len(self.keys)) for scope in scopes)

    def _made_of(self, chains: Sequence[tuple[int, ...]]) -> Array:
        """A row for each chain, with a one for each of its parameters."""
        rows = np.repeat(np.arange(len(chains)), [len(parts) for parts in chains])
        columns = np.fromiter(chain.from_iterable(chains), dtype=int)
        return csr_array((np.ones(len(rows)), (rows, columns)), (len(chains), len(self.keys)))

    def coefficients(self, parameters: Array) -> dict[str, Array]:
        """The logarithm of every coefficient, one entry an observation."""
        return {name: parts @ parameters for name, parts in self.members.items()}

    def times_of(self, coefficients: Mapping[str, Array]) -> Array:
        """Logarithms of the times that these coefficients give."""
        kernels = self._kernels(coefficients)
        seconds = self.stairs * pass_s(kernels, self.facts, self.work) + cells_s(kernels, self.facts, self.work)
        seconds = seconds + self.hosted * (kernels.host_step_us + kernels.host_row_us * self.work.outputs) * MICRO
        seconds = seconds + self.listed * kernels.host_cell_ns * NANO
        return np.log(np.bincount(self.owner, seconds * self.times, len(self.observations)))

    def _kernels(self, coefficients: Mapping[str, Array]) -> Kernels:
        """The coefficients of every pass."""
        return Kernels(**{name: np.exp(values)[self.owner] for name, values in coefficients.items()})

    def slopes(self, parameters: Array) -> tuple[Array, Array]:
        """The predicted logarithms, and their derivatives: one coefficient moved at a time, for all at once."""
        coefficients = self.coefficients(parameters)
        here = self.times_of(coefficients)
        matrix = self.laboratory
        for name, parts in self.members.items():
            moved = (self.times_of({**coefficients, name: coefficients[name] + STEP}) - here) / STEP
            matrix = matrix + diags_array(moved) @ parts
        return here, matrix

    def solved(self, close_enough: float = CLOSE_ENOUGH, near: Solution | None = None) -> Solution:
        """The most plausible parameters: Gauss-Newton on the reweighted squares, each step halved until it helps."""
        parameters = self._parameters(near) if near else self.expected.copy()
        for _ in range(MOST_STEPS):
            off, matrix = self._off(parameters)
            weights = (self.weights / NOISE) ** 2 / np.sqrt(1 + (off / NOISE) ** 2)
            over = np.maximum(self.rates @ parameters, 0.0) / OVER_RATE**2
            normal = (matrix.T @ diags_array(weights) @ matrix).toarray() + np.diag(self.spread**-2.0)
            normal += (self.rates.T @ diags_array((over > 0) / OVER_RATE**2) @ self.rates).toarray()
            slope = matrix.T @ (weights * off) + self.rates.T @ over + (parameters - self.expected) / self.spread**2
            step = solve(normal, -slope, assume_a="pos")
            share = self._helpful_share(parameters, step)
            parameters = parameters + share * step
            if np.abs(share * step).max() < close_enough:
                break
        parts = dict(zip(self.keys, parameters.tolist(), strict=True))
        laboratories = {path: value for (name, path), value in parts.items() if name == LABORATORY}
        return Solution({key: value for key, value in parts.items() if key[0] != LABORATORY}, laboratories)

    def _off(self, parameters: Array) -> tuple[Array, Array]:
        here, matrix = self.slopes(parameters)
        return here + self.laboratory @ parameters - self.measured, matrix

    def _helpful_share(self, parameters: Array, step: Array) -> float:
        """How much of a step lowers the cost."""
        now, share = self.cost(parameters), 1.0
        while share > LEAST_SHARE and self.cost(parameters + share * step) > now:
            share /= 2
        return share

    def cost(self, parameters: Array) -> float:
        """Implausibility: small residuals squared, large ones as they are, and distances from the priors squared."""
        off = self.times_of(self.coefficients(parameters)) + self.laboratory @ parameters - self.measured
        misfit = self.weights**2 * (np.sqrt(1 + (off / NOISE) ** 2) - 1)
        over = np.maximum(self.rates @ parameters, 0.0) / OVER_RATE
        apart = (parameters - self.expected) / self.spread
        return float(misfit.sum() + 0.5 * (over @ over + apart @ apart))

    def stair_shares(self, solution: Solution) -> Array:
        """Of each observation's time, the part that is passes of decodes, their cells and the host's work apart."""
        coefficients = self.coefficients(self._parameters(solution))
        kernels = self._kernels(coefficients)
        seconds = (self.work.prompt == 0) * pass_s(kernels, self.facts, self.work) * self.times
        whole = np.exp(self.times_of(coefficients))
        return np.bincount(self.owner, seconds, len(self.observations)) / whole

    def errors(self, solution: Solution) -> Array:
        """Logarithm of predicted over measured, of a solution that may know other scopes than these."""
        return self.times_of(self.coefficients(self._parameters(solution))) - self.measured

    def _parameters(self, solution: Solution) -> Array:
        return np.array([solution.parts.get(key, expected(*key)) for key in self.keys])


def scopes_of(name: str, one: Observation, own_sources: Collection[str]) -> tuple[str, ...]:
    """The scopes that an observation's coefficient is made of."""
    source = one.point.source_id
    beside = own(name, one.family) if source in own_sources else ()
    board = machine(name, one.family, source) if source in sources() else ()
    return (*paths(name, one.family), *beside, *board)


def row_weights(observations: Sequence[Observation]) -> Array:
    """Many rows of one model on one card say less than as many of different ones."""
    keys = [(one.point.source_id, one.point.gpu, one.point.model) for one in observations]
    counts = Counter(keys)
    return np.array([counts[key] ** -0.25 for key in keys])
