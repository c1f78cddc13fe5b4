"""A load whose requests take a while to reach the engine: network, HTTP, templates, the tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sim.clock import Clock
from sim.request import Request
from sim.workload import Port, Source
from workloads.think import Think
from workloads.wrapped import Wrapped


@dataclass(frozen=True, slots=True)
class Remote(Wrapped):
    """The same load seen from its clients: a request arrives when it is sent and enters the engine a latency later.

    Both ways count as one: an answer is read when the engine ends it, and whoever asks again is late by all of it.
    """

    latency: Think

    def source(self, port: Port) -> Source:
        """The load's own source, with a longer way in."""
        latency_ps = self.latency.stream(port.streams["latency"]).__next__
        return self.workload.source(replace(port, send=_Way(port.env, port.send, latency_ps).send))


@dataclass(frozen=True, slots=True)
class _Way:
    """Between a client and the engine; who was sent later may be there first."""

    env: Clock
    let_in: Callable[[Request], None]
    latency_ps: Callable[[], int]

    def send(self, request: Request) -> None:
        """The request is under way."""
        self.env.call_in(self.latency_ps(), lambda _: self._enter(request))

    def _enter(self, request: Request) -> None:
        request.entered_ps = self.env.now
        self.let_in(request)
