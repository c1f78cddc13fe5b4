"""Distributions of lengths: whole tokens, never fewer than one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sim.errors import UsageError
from workloads.draws import BLOCK_DRAWS
from workloads.units import number_text

LONGEST_TOKENS = 10_000_000
# the context of Llama 3.1 and its kin: a lognormal tail beyond it describes no request anyone sends
LOGNORMAL_MAX_TOKENS = 131_072


Tokens = NDArray[np.int64]


class Lengths(Protocol):
    """A distribution of lengths in tokens; `text` is what a user would type to get it."""

    @property
    def mean(self) -> float: ...

    @property
    def text(self) -> str: ...

    def draw(self, rng: Generator, n: int) -> Tokens: ...


def stream(lengths: Lengths, rng: Generator, block: int = BLOCK_DRAWS) -> Iterator[int]:
    """Lengths one at a time, without end, drawn by the block because numpy charges per call."""

    def blocks() -> Iterator[list[int]]:
        while True:
            yield lengths.draw(rng, block).tolist()

    return chain.from_iterable(blocks())


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every length is the same."""

    tokens: int

    def __post_init__(self) -> None:
        _require(
            1 <= self.tokens <= LONGEST_TOKENS,
            self.text,
            f"1 to {LONGEST_TOKENS} tokens",
        )

    @property
    def mean(self) -> float:
        return float(self.tokens)

    @property
    def text(self) -> str:
        return f"fixed:{self.tokens}"

    def draw(self, rng: Generator, n: int) -> Tokens:
        return np.full(n, self.tokens, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every whole length from low to high, both included, is equally likely."""

    low: int
    high: int

    def __post_init__(self) -> None:
        within = 1 <= self.low <= self.high <= LONGEST_TOKENS
        _require(within, self.text, f"low then high, both from 1 to {LONGEST_TOKENS}")

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def text(self) -> str:
        return f"uniform:{self.low},{self.high}"

    def draw(self, rng: Generator, n: int) -> Tokens:
        return rng.integers(self.low, self.high, size=n, dtype=np.int64, endpoint=True)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """The logarithm of the length is normal; rounded, and clipped to 1..max_tokens."""

    mu: float
    sigma: float
    max_tokens: int = LOGNORMAL_MAX_TOKENS
    spelling: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _require(
            1 <= self.max_tokens <= LONGEST_TOKENS,
            self.text,
            f"max 1 to {LONGEST_TOKENS}",
        )
        _require(
            0 < self.sigma <= 5,
            self.text,
            "a spread above 0 and sigma at most 5, or fixed:N",
        )
        within = -20 <= self.mu <= math.log(self.max_tokens)
        _require(within, self.text, f"a median below the maximum of {self.max_tokens} tokens")

    @classmethod
    def from_mean_cv(cls, mean: float, cv: float, max_tokens: int) -> "Lognormal":
        """The lognormal of this mean before clipping; cv is standard deviation over mean."""
        spelling = _spelling(max_tokens, mean=mean, cv=cv)
        _require(
            mean >= 1 and 0 < cv <= 1e4,
            spelling,
            "mean at least 1, cv above 0, or fixed:N",
        )
        sigma = math.sqrt(math.log1p(cv * cv))
        return cls(math.log(mean) - sigma * sigma / 2, sigma, max_tokens, spelling)

    @classmethod
    def from_mean_p99(cls, mean: float, p99: float, max_tokens: int) -> "Lognormal":
        """Of the two lognormals with this mean and p99 before clipping, the narrower one."""
        spelling = _spelling(max_tokens, mean=mean, p99=p99)
        z = NormalDist().inv_cdf(0.99)
        widest = math.exp(z * z / 2)
        _require(mean >= 1 and p99 > mean, spelling, "mean at least 1 and p99 above the mean")
        _require(
            p99 <= mean * widest,
            spelling,
            f"p99 within {widest:.1f} times the mean, or cv=",
        )
        sigma = z - math.sqrt(max(0.0, z * z - 2 * math.log(p99 / mean)))
        return cls(math.log(mean) - sigma * sigma / 2, sigma, max_tokens, spelling)

    @property
    def mean(self) -> float:
        """The mean after clipping; rounding moves it by less than half a token."""
        return 1 + self._mean_up_to(self.max_tokens) - self._mean_up_to(1)

    def _mean_up_to(self, cap: float) -> float:
        score = (math.log(cap) - self.mu) / self.sigma
        below = math.exp(self.mu + self.sigma**2 / 2) * NormalDist().cdf(score - self.sigma)
        return below + cap * NormalDist().cdf(-score)

    @property
    def text(self) -> str:
        return self.spelling or _spelling(self.max_tokens, mu=self.mu, sigma=self.sigma)

    def draw(self, rng: Generator, n: int) -> Tokens:
        lengths = np.exp(self.mu + self.sigma * rng.standard_normal(n))
        return np.clip(np.rint(lengths), 1, self.max_tokens).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A measured inverse distribution: tokens at rising percentages, straight lines between."""

    percent: tuple[float, ...]
    tokens: tuple[float, ...]

    def __post_init__(self) -> None:
        percent, tokens = self.percent, self.tokens
        matched = len(percent) == len(tokens) >= 2 and percent[0] == 0 and percent[-1] == 100
        rising = all(a < b for a, b in pairwise(percent))
        _require(
            matched and rising,
            self.text,
            "percentages rising from 0 to 100, tokens at each",
        )
        ordered = all(a <= b for a, b in pairwise(tokens))
        within = ordered and tokens[0] >= 1 and tokens[-1] <= LONGEST_TOKENS
        _require(within, self.text, f"tokens from 1 to {LONGEST_TOKENS} that never fall")

    @property
    def mean(self) -> float:
        return float(np.trapezoid(self.tokens, self.percent)) / 100

    @property
    def text(self) -> str:
        pairs = zip(self.percent, self.tokens, strict=False)
        return "quantiles:" + ",".join(f"{number_text(p)}={number_text(t)}" for p, t in pairs)

    def draw(self, rng: Generator, n: int) -> Tokens:
        return np.rint(np.interp(rng.random(n) * 100, self.percent, self.tokens)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Sample:
    """Lengths seen in a file, drawn again with replacement, each as likely as any other."""

    tokens: tuple[int, ...]
    text: str = field(compare=False)
    # turning the tuple into an array at every draw would cost more than drawing
    _array: Tokens = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        within = self.tokens and min(self.tokens) >= 1 and max(self.tokens) <= LONGEST_TOKENS
        _require(
            bool(within),
            self.text,
            f"at least one length, each from 1 to {LONGEST_TOKENS}",
        )
        object.__setattr__(self, "_array", np.array(self.tokens, dtype=np.int64))

    @property
    def mean(self) -> float:
        return float(self._array.mean())

    def draw(self, rng: Generator, n: int) -> Tokens:
        return self._array[rng.integers(0, len(self._array), size=n)]


def _spelling(max_tokens: int, **parameters: float) -> str:
    parts = [f"{name}={number_text(number)}" for name, number in parameters.items()]
    if max_tokens != LOGNORMAL_MAX_TOKENS:
        parts.append(f"max={max_tokens}")
    return "lognormal:" + ",".join(parts)


def _require(holds: bool, text: str, instead: str) -> None:
    if not holds:
        raise UsageError(f"lengths '{text}' describe no request: needs {instead}")
