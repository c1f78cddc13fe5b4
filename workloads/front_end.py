"""A load whose requests pass one process on their way to the engine, which works on all of them at once."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil

from simpy import Event

from sim.clock import Clock, ps
from sim.request import Request
from sim.workload import Port, Source
from workloads.wrapped import Wrapped


@dataclass(frozen=True, slots=True)
class FrontEnd(Wrapped):
    """The same load seen by clients of a server whose front end has one thread.

    Its event loop gives every request inside an equal share of the thread, so that of N sent together none is through
    before nearly all are: each waits for N times the work of one. Whoever comes first is through first.
    """

    work_s: float  # the thread's time for one request

    def source(self, port: Port) -> Source:
        """The load's own source, with the front end before the engine."""
        if self.work_s == 0:
            return self.workload.source(port)
        return self.workload.source(replace(port, send=_Thread(port.env, port.send, ps(self.work_s)).send))


@dataclass(slots=True)
class _Thread:
    """One thread shared in equal parts by the requests that are inside."""

    env: Clock
    let_in: Callable[[Request], None]
    work_ps: int
    _inside: deque[tuple[float, Request]] = field(default_factory=deque)  # each with the `_done` at which it is through
    _done: float = 0.0  # ps of work that a request has had which was inside all the time
    _since_ps: int = 0  # when that was true
    _next: Event | None = None

    def send(self, request: Request) -> None:
        """The request is read, and the others get less of the thread."""
        self._work()
        self._inside.append((self._done + self.work_ps, request))
        self._plan()

    def _work(self) -> None:
        """Account for the time since somebody came or left."""
        if self._inside:
            self._done += (self.env.now - self._since_ps) / len(self._inside)
        self._since_ps = self.env.now

    def _plan(self) -> None:
        left = max(0.0, self._inside[0][0] - self._done)
        self._next = self.env.call_in(ceil(left * len(self._inside)), self._through)

    def _through(self, event: Event) -> None:
        """The first one is through, with all that came at its instant; unless others came since this was planned."""
        if event is not self._next:
            return
        self._work()
        self._done = max(self._done, self._inside[0][0])
        while self._inside and self._inside[0][0] <= self._done:
            request = self._inside.popleft()[1]
            request.entered_ps = self.env.now
            self.let_in(request)
        if self._inside:
            self._plan()
