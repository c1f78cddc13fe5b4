"""When requests come: at a rate, or as the users in a closed loop make them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, count
from typing import Protocol

from numpy.random import Generator

from sim.errors import UnknownName, UsageError
from workloads.draws import whole_ps
from workloads.units import MOST_USERS, PS_PER_S, number_text, parse_count, parse_number

# from one request in eleven days to a million a second: beyond them picoseconds serve nobody
LOWEST_RATE, HIGHEST_RATE = 1e-6, 1e6


class Arrivals(Protocol):
    """Arrival times that do not wait for answers; the first comes one gap after time zero."""

    @property
    def rate(self) -> float: ...

    @property
    def text(self) -> str: ...

    def stream(self, rng: Generator) -> Iterator[int]:
        """Absolute times in ps, never falling, without end."""
        ...


@dataclass(frozen=True, slots=True)
class Poisson:
    """Arrivals that know nothing of each other, `rate` a second on average."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate, self.text)

    @property
    def text(self) -> str:
        return f"poisson:{number_text(self.rate)}"

    def stream(self, rng: Generator) -> Iterator[int]:
        mean_gap_ps = PS_PER_S / self.rate
        return accumulate(whole_ps(lambda n: rng.exponential(mean_gap_ps, n)))


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gaps of a stated coefficient of variation: above 1 arrivals bunch, below 1 they space."""

    rate: float
    cv: float

    def __post_init__(self) -> None:
        _check_rate(self.rate, self.text)
        if not 0.001 <= self.cv <= 100:
            raise UsageError(f"load '{self.text}' needs a cv from 0.001 to 100, or use constant:R")

    @property
    def text(self) -> str:
        return f"gamma:{number_text(self.rate)},cv={number_text(self.cv)}"

    def stream(self, rng: Generator) -> Iterator[int]:
        shape = self.cv**-2
        scale_ps = PS_PER_S / self.rate / shape
        return accumulate(whole_ps(lambda n: rng.gamma(shape, scale_ps, n)))


@dataclass(frozen=True, slots=True)
class Constant:
    """Arrivals evenly spaced: the k-th comes at k / rate, to the nearest picosecond."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate, self.text)

    @property
    def text(self) -> str:
        return f"constant:{number_text(self.rate)}"

    def stream(self, rng: Generator) -> Iterator[int]:
        # the rate as typed: 0.1 is one in ten seconds, and the millionth arrival has not drifted
        top, bottom = (PS_PER_S / Fraction(repr(float(self.rate)))).as_integer_ratio()
        return ((2 * top * k + bottom) // (2 * bottom) for k in count(1))


def _check_rate(rate: float, text: str) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UsageError(f"load '{text}' needs a rate from {LOWEST_RATE:g} to {HIGHEST_RATE:g} requests a second")


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server: so many users or prompts, or so many requests a second.

    closed: `value` users, each waiting for its answer. burst: `value` requests at once to a server.
    offline: `value` prompts as one batch. single: one request alone. poisson, gamma, constant:
    `value` requests a second, whoever is still waiting; `cv` is that of gamma's gaps. trace: the requests of a
    file, `value` a second on average.
    """

    kind: str
    value: float
    cv: float | None = None

    def __post_init__(self) -> None:
        if self.kind in RATED:
            self.arrivals()
        elif self.kind == TRACE:
            _check_rate(self.value, self.kind)
        elif self.kind not in COUNTED:
            raise UnknownName("load", self.kind, [*COUNTED, *RATED])
        else:
            parse_count(number_text(self.value), f"{self.kind} load", MOST_USERS)
        if (self.cv is None) == (self.kind == "gamma"):
            raise UsageError(f"load '{self.kind}': gamma needs a cv and no other load takes one")

    @property
    def open_loop(self) -> bool:
        """Whether requests come at a rate, however many are waiting."""
        return self.kind in RATED or self.kind == TRACE

    @property
    def text(self) -> str:
        if self.kind in RATED:
            return self.arrivals().text
        return self.kind if self.kind in ("single", TRACE) else f"{self.kind}:{number_text(self.value)}"

    def arrivals(self) -> Arrivals:
        """The arrival process of an open-loop load."""
        if self.kind not in RATED:
            raise UsageError(f"load '{self.text}' has no arrival rate: use poisson:R")
        return RATED[self.kind](self)


COUNTED = ("closed", "burst", "offline", "single")
TRACE = "trace"
RATED: dict[str, Callable[[Load], Arrivals]] = {
    "poisson": lambda load: Poisson(load.value),
    "gamma": lambda load: Gamma(load.value, load.cv or 0),
    "constant": lambda load: Constant(load.value),
}


def parse_load(text: str) -> Load:
    """A load from `closed:32`, `burst:32`, `offline:500`, `poisson:4`, `gamma:4,cv=2`, `single`."""
    kind, _, argument = text.strip().partition(":")
    kind = kind.strip().lower()
    if kind == "single" and not argument:
        return Load("single", 1)
    if kind in COUNTED and kind != "single":
        return Load(kind, parse_count(argument, f"{kind} load", MOST_USERS))
    if kind in RATED:
        return _rated(kind, argument)
    raise UnknownName("load", text, [*COUNTED, *RATED])


def _rated(kind: str, argument: str) -> Load:
    rate, comma, cv = argument.partition(",")
    value = parse_number(rate, f"{kind} rate")
    if not comma:
        return Load(kind, value)
    return Load(kind, value, parse_number(cv.strip().removeprefix("cv="), f"{kind} cv"))
