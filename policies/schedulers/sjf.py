"""Shortest job first: Orca's batching, but the request with the shortest predicted output is admitted next."""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from policies.schedulers import option_checks as check
from policies.schedulers.orca import Orca
from sim.cache import KVCache
from sim.prediction import predicted_output
from sim.request import Request


@dataclass
class Sjf(Orca):
    """Admitted requests run to their end; each is predicted once, when it enters the queue.

    `noise` is the spread of the prediction's lognormal error. Memory is reserved for the client's limit, not for the
    prediction, so that a wrong guess costs time and never memory.
    """

    clairvoyant = True

    reserve: str = "limit"
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.numbers(self, "noise")
        check.counts(self, "seed", least=0)

    def bind(self, cache: KVCache) -> None:
        """Take possession of a reserving cache and start with an empty queue."""
        super().bind(cache)
        self._ranked: list[tuple[int, int, int, Request]] = []

    def submit(self, request: Request) -> None:
        """Take the place that the prediction gives; equal predictions are served in order of arrival."""
        predicted = predicted_output(request, self.noise, self.seed)
        heappush(self._ranked, (predicted, request.arrival_ps, request.id, request))

    def head(self) -> Request | None:
        """The shortest; where it does not fit nobody longer is admitted either."""
        return self._ranked[0][-1] if self._ranked else None

    def take_head(self) -> None:
        """The shortest has been admitted."""
        heappop(self._ranked)

    def drop(self, request: Request) -> None:
        """A waiting client has gone."""
        self._ranked = [entry for entry in self._ranked if entry[-1] is not request]
        heapify(self._ranked)

    @property
    def waiting_count(self) -> int:
        """Requests in the queue."""
        return len(self._ranked)
