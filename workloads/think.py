"""Think time: how long a user pauses between an answer and the next question."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

from numpy.random import Generator

from sim.errors import UsageError
from workloads.draws import whole_ps
from workloads.units import PS_PER_S, number_text, parse_duration, to_ps


class Think(Protocol):
    """The pause of a user between an answer and the next question."""

    @property
    def mean_s(self) -> float: ...

    @property
    def text(self) -> str: ...

    def stream(self, rng: Generator) -> Iterator[int]:
        """Pauses in ps, without end."""
        ...


@dataclass(frozen=True, slots=True)
class FixedThink:
    """Every pause is the same; zero keeps a user's stream always in flight."""

    mean_s: float

    @property
    def text(self) -> str:
        return f"{number_text(self.mean_s)}s"

    def stream(self, rng: Generator) -> Iterator[int]:
        return repeat(to_ps(self.mean_s))


@dataclass(frozen=True, slots=True)
class ExponentialThink:
    """Pauses without memory, of a stated mean."""

    mean_s: float

    @property
    def text(self) -> str:
        return f"exp:{number_text(self.mean_s)}s"

    def stream(self, rng: Generator) -> Iterator[int]:
        return whole_ps(lambda n: rng.exponential(self.mean_s * PS_PER_S, n))


def parse_think(text: str) -> Think:
    """`10s` is that pause every time, `exp:10s` an exponential one of that mean, `0` none."""
    kind, colon, duration = text.strip().partition(":")
    if not colon:
        return FixedThink(parse_duration(text, "think time"))
    if kind.strip().lower() != "exp":
        raise UsageError(f"think time '{text}' is neither a duration, as 10s, nor exp:10s")
    mean_s = parse_duration(duration, "think time")
    if mean_s == 0:
        raise UsageError(f"think time '{text}' has mean zero: write 0s")
    return ExponentialThink(mean_s)
