"""Open loop: requests come when they come, whether or not the server keeps up."""

from collections.abc import Iterator
from dataclasses import dataclass

from simpy import Event

from sim.request import Request
from sim.workload import Port
from workloads.arrivals import Arrivals
from workloads.lengths import Lengths, stream


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Independent requests at the instants of an arrival process."""

    arrivals: Arrivals
    requests: int
    prompt: Lengths
    output: Lengths
    warmup: int = 0
    cooldown: int = 0
    limit: int | None = None

    def source(self, port: Port) -> "Stream":
        """One realisation of the process."""
        return Stream(self, self.arrivals.stream(port.streams["arrivals"]), port)


@dataclass(frozen=True, slots=True)
class Burst:
    """`requests` requests at once and no more: what many benchmarks call a concurrency of N."""

    requests: int
    prompt: Lengths
    output: Lengths
    warmup: int = 0
    cooldown: int = 0
    limit: int | None = None

    def source(self, port: Port) -> "Stream":
        """All of them at time zero."""
        return Stream(self, iter([0] * self.requests), port)


class Stream:
    """A running open loop: one pending event, for the next arrival."""

    def __init__(self, load: OpenLoop | Burst, times_ps: Iterator[int], port: Port) -> None:
        self._env = port.env
        self._send = port.send
        self._times_ps = times_ps
        self._left = load.requests
        self._sent = 0
        self._prompt = stream(load.prompt, port.streams["prompts"])
        self._output = stream(load.output, port.streams["outputs"])
        self._limit = load.limit

    def start(self) -> None:
        """Plan the first arrival."""
        self._plan()

    def ended(self, request: Request) -> None:
        """Nobody waits for the answer."""

    def _plan(self) -> None:
        if self._sent < self._left:
            wait = max(0, next(self._times_ps) - self._env.now)
            self._env.call_in(wait, self._arrive)

    def _arrive(self, _: Event) -> None:
        now = self._env.now
        request = Request(self._sent, next(self._prompt), next(self._output), self._limit, now)
        self._sent += 1
        self._send(request)
        self._plan()
