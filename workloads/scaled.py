"""Lengths so many times as long as others."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from workloads.distributions import LONGEST_TOKENS, Lengths, Tokens
from workloads.units import number_text


@dataclass(frozen=True, slots=True)
class Scaled:
    """Every length of another distribution times a factor: the same draws, so that two factors can be compared."""

    lengths: Lengths
    factor: float

    @property
    def mean(self) -> float:
        """Rounding and clipping move it by less than a token."""
        return max(1.0, self.factor * self.lengths.mean)

    @property
    def text(self) -> str:
        """No flag says this; it is for the eye."""
        return f"{number_text(self.factor)} x {self.lengths.text}"

    def draw(self, rng: Generator, n: int) -> Tokens:
        """Whole tokens, one at least."""
        tokens: Tokens = np.rint(self.factor * self.lengths.draw(rng, n)).astype(np.int64)
        return tokens.clip(1, LONGEST_TOKENS)
