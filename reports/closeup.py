"""A stretch of one run, close enough to see single requests: what the figures beside the curves are drawn from."""

from dataclasses import dataclass
from typing import Literal

BarKind = Literal["queue", "prompt", "decode"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one request's life in seconds since the start of the run; who waits has no slot."""

    slot: int | None
    request: int
    start_s: float
    end_s: float
    kind: BarKind


@dataclass(frozen=True, slots=True)
class Moment:
    """How full a server is at an instant: tokens of its KV cache in use, requests inside and waiting."""

    t_s: float
    used_tokens: int
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Life:
    """One request from arrival to end, in seconds since the start of the run; None where it did not get so far."""

    request: int
    arrival_s: float
    queue_end_s: float | None
    prompt_end_s: float | None
    end_s: float


@dataclass(frozen=True, slots=True)
class CloseUp:
    """A stretch of one run of a variant near its cliff."""

    variant: str
    users: int
    seed: int
    capacity_tokens: int
    gantt: tuple[Bar, ...]
    occupancy: tuple[Moment, ...]
    waterfall: tuple[Life, ...]
