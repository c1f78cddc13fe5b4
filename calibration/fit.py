"""Coefficients from measurements: robust least squares on the logarithm of times, each correction held to a prior.

A coefficient is a product along its path (scopes.py). Wide scopes are free to move; corrections of narrower ones have
to be worth it. Every laboratory may be slower or faster as a whole, so that its habits do not bend the physics.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from calibration.observations import Observation
from calibration.scopes import ATTENTION, COEFFICIENTS, EFFICIENCIES, HOST, LATENCIES, paths
from calibration.terms import MICRO, Facts, Kernels, Work, cells_s, pass_s

Array = Any

# What is expected before anything is measured, and how far off (as a factor, natural logarithm) it may well be.
PRIORS = {
    "weights_efficiency": (0.8, 0.3),
    "decode_flops_efficiency": (0.55, 0.4),
    "prompt_flops_efficiency": (0.55, 0.3),
    "kv_efficiency": (0.75, 0.3),
    "attention_flops_efficiency": (0.35, 0.4),
    "launch_us": (300.0, 0.8),
    "layer_us": (20.0, 1.0),
    "row_us": (10.0, 0.8),
    "host_step_us": (1500.0, 0.8),
    "host_row_us": (40.0, 0.8),
    "all_reduce_us": (20.0, 0.6),
    "overlap": (2.0, 0.4),
}
# By how much a scope may differ from the one around it: memory, vendor, format, card.
NARROWER = {
    **dict.fromkeys(EFFICIENCIES, (0.15, 0.3, 0.2, 0.07)),
    **dict.fromkeys(ATTENTION, (0.15, 0.3, 0.07)),
    **dict.fromkeys(LATENCIES, (0.5, 0.5)),
    **dict.fromkeys(HOST, (0.5,)),
}
LABORATORY = 0.03
NOISE = 0.05  # a residual of so much counts in full; far larger ones count like their root
STEP = 1e-4  # of a logarithm, for a derivative
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Solution:
    """Logarithms of the parts of coefficients, by coefficient and path; and of the laboratories' own factors."""

    parts: Mapping[tuple[str, str], float]
    laboratories: Mapping[str, float]


class Problem:
    """The observations as arrays, and which parameters each of them depends on."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self.observations = observations
        rows = [(index, times, *work) for index, one in enumerate(observations) for times, work in one.passes]
        table = np.array(rows, dtype=float)
        self.owner = table[:, 0].astype(int)
        self.times = table[:, 1]
        self.work = Work(*table[:, 2:].T)
        self.facts = Facts(*np.array([one.facts for one in observations], dtype=float)[self.owner].T)
        self.hosted = np.array([one.hosted for one in observations])[self.owner]
        self.measured = np.log([one.measured_s for one in observations])
        self._number_parameters()
        self.weights = row_weights(observations)

    def _number_parameters(self) -> None:
        """Which parameters make up each coefficient of each observation."""
        self.keys: dict[tuple[str, str], int] = {}
        self.members: dict[str, list[Array]] = {}
        for name in COEFFICIENTS:
            chains = [paths(name, one.family) for one in self.observations]
            self.members[name] = [self._numbers(name, level) for level in zip(*chains, strict=True)]
        self.laboratory = self._numbers("laboratory", [one.point.source_id for one in self.observations])
        self.expected = np.array([expected(*key) for key in self.keys])
        self.spread = np.array([spread(*key) for key in self.keys])

    def _numbers(self, name: str, scopes: Sequence[str]) -> Array:
        return np.array([self.keys.setdefault((name, scope), len(self.keys)) for scope in scopes])

    def coefficients(self, parameters: Array) -> dict[str, Array]:
        """The logarithm of every coefficient, one entry an observation."""
        return {name: sum(parameters[part] for part in parts) for name, parts in self.members.items()}

    def times_of(self, coefficients: Mapping[str, Array]) -> Array:
        """Logarithms of the times that these coefficients give."""
        kernels = Kernels(**{name: np.exp(values)[self.owner] for name, values in coefficients.items()})
        seconds = pass_s(kernels, self.facts, self.work) + cells_s(kernels, self.facts, self.work)
        seconds = seconds + self.hosted * (kernels.host_step_us + kernels.host_row_us * self.work.outputs) * MICRO
        return np.log(np.bincount(self.owner, seconds * self.times, len(self.observations)))

    def slopes(self, parameters: Array) -> tuple[Array, Array]:
        """The predicted logarithms, and their derivatives: one coefficient moved at a time, for all at once."""
        coefficients = self.coefficients(parameters)
        here = self.times_of(coefficients)
        matrix = np.zeros((len(self.observations), len(self.keys)))
        every = np.arange(len(self.observations))
        for name, parts in self.members.items():
            moved = self.times_of({**coefficients, name: coefficients[name] + STEP})
            for part in parts:
                matrix[every, part] += (moved - here) / STEP
        matrix[every, self.laboratory] += 1
        return here, matrix

    def solve(self) -> Solution:
        """The most plausible parameters."""

        def residuals(parameters: Array) -> Array:
            off = self.times_of(self.coefficients(parameters)) + parameters[self.laboratory] - self.measured
            return np.concatenate([soften(off / NOISE) * self.weights, (parameters - self.expected) / self.spread])

        def jacobian(parameters: Array) -> Array:
            here, matrix = self.slopes(parameters)
            off = (here + parameters[self.laboratory] - self.measured) / NOISE
            return np.vstack([matrix * (softening(off) * self.weights / NOISE)[:, None], np.diag(1 / self.spread)])

        found = least_squares(residuals, self.expected, jacobian, method="lm", max_nfev=200)
        parts = dict(zip(self.keys, found.x.tolist(), strict=True))
        laboratories = {path: value for (name, path), value in parts.items() if name == "laboratory"}
        return Solution({key: value for key, value in parts.items() if key[0] != "laboratory"}, laboratories)

    def errors(self, solution: Solution) -> Array:
        """Logarithm of predicted over measured, of a solution that may know other scopes than these."""
        parameters = np.array([solution.parts.get(key, expected(*key)) for key in self.keys])
        return self.times_of(self.coefficients(parameters)) - self.measured


def expected(name: str, path: str) -> float:
    """The logarithm of a part before anything is measured."""
    return float(np.log(PRIORS[name][0])) if "/" not in path and name in PRIORS else 0.0


def spread(name: str, path: str) -> float:
    """By how much that may be off."""
    if name == "laboratory":
        return LABORATORY
    depth = path.count("/")
    return PRIORS[name][1] if depth == 0 else NARROWER[name][depth - 1]


def soften(off: Array) -> Array:
    """Residuals whose squares grow like the size of the error, not its square, once it is large."""
    return np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off * off) - 1))


def softening(off: Array) -> Array:
    """The derivative of `soften`."""
    root = np.sqrt(1 + off * off)
    return np.abs(off) / root / np.maximum(np.sqrt(2 * (root - 1)), TINY) + (np.abs(off) <= TINY)


def row_weights(observations: Sequence[Observation]) -> Array:
    """Many rows of one model on one card say less than as many of different ones."""
    keys = [(one.point.source_id, one.point.gpu, one.point.model) for one in observations]
    counts = Counter(keys)
    return np.array([counts[key] ** -0.25 for key in keys])


def fit(observations: Sequence[Observation]) -> Solution:
    """The solution for these observations."""
    return Problem(observations).solve()
