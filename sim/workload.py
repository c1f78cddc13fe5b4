"""Where requests come from, as the kernel sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sim.clock import Clock
from sim.request import Request

STREAMS = ("arrivals", "prompts", "outputs", "think", "latency")  # a new one comes last: seeds keep the others


@dataclass(frozen=True, slots=True)
class Port:
    """What a source of requests is given: time, a way in, and one stream of chance for each purpose."""

    env: Clock
    send: Callable[[Request], None]
    streams: dict[str, np.random.Generator]


def random_streams(seed: int) -> dict[str, np.random.Generator]:
    """Independent generators from one seed; drawing more from one never moves another."""
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    return {name: np.random.Generator(np.random.PCG64(child)) for name, child in zip(STREAMS, children, strict=True)}


class Source(Protocol):
    """A running source of requests."""

    def start(self) -> None:
        """Send the first requests, or plan them."""
        ...

    def ended(self, request: Request) -> None:
        """A request has come to its final end; its user may send the next one now."""
        ...


class Workload(Protocol):
    """A description of a load, from which every run makes its own source."""

    @property
    def requests(self) -> int:
        """How many in all."""
        ...

    @property
    def warmup(self) -> int:
        """How many of them, the first ones, are left out of the measurements."""
        ...

    @property
    def cooldown(self) -> int:
        """How many, the last ones, only keep the load up for the others."""
        ...

    def source(self, port: Port) -> Source:
        """A fresh source for one run."""
        ...
