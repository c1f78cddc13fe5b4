"""One running copy of an engine, without time: what it decides and what its decisions lead to."""

from sim.batch import Batch
from sim.cache import KVCache
from sim.request import End, Request
from sim.scheduler import Scheduler

_LENGTH, _FINISHED = End.LENGTH, End.FINISHED  # an enum's members are slow to look up


class Core:
    """Queues and memory. `schedule` and `complete` alternate; a pipelined core schedules once ahead."""

    __slots__ = ("_ending", "_in_flight", "_pipelined", "cache", "decoding", "scheduler")

    def __init__(self, scheduler: Scheduler, cache: KVCache) -> None:
        scheduler.bind(cache)
        self.scheduler = scheduler
        self.cache = cache
        self.decoding = scheduler.decoding
        self._pipelined = scheduler.pipelined
        self._in_flight = False
        self._ending: list[Request] = []  # have their last token, seen by the scheduler one step late

    def submit(self, request: Request) -> bool:
        """Enter the engine's queue; False when the engine refuses the request for good."""
        scheduler = self.scheduler
        if scheduler.refuses(request):
            request.end = End.REJECTED
            return False
        bound = scheduler.output_bound(request)
        if bound <= request.output_tokens:  # the engine foresees this end, whatever the last token is
            request.output_tokens = bound
            request.stops_by_length = True
        scheduler.submit(request)
        return True

    def schedule(self) -> Batch | None:
        """Decide the next step."""
        if not self._pipelined:
            return self.scheduler.schedule()
        if self._in_flight and self.decoding.ends_at <= self.decoding.clock:
            self._see_predictable_ends()
        batch = self.scheduler.schedule()
        if batch is not None:
            self._in_flight = True
            if self._ending:
                batch.steady_steps = 1
                for request in self._ending:
                    batch.wasted += request.lockstep
        return batch

    def complete(self, batch: Batch, last: bool = True) -> list[Request]:
        """The results of the batch are known: the requests that end with it.

        `last` says that no later batch has been scheduled yet.
        """
        ending, decoding = self._ending, self.decoding
        if last:
            self._in_flight = False
            if decoding.ends_at <= decoding.clock:
                ending = ending + decoding.due()
        if ending:
            self._ending = []
            finish = self.scheduler.finish
            for request in ending:
                request.end = _LENGTH if request.stops_by_length else _FINISHED
                finish(request)
        return ending

    def abort(self, request: Request, end: End) -> None:
        """Take the request out, wherever it is."""
        request.end = end
        self.scheduler.abort(request)

    def _see_predictable_ends(self) -> None:
        """A stop by length is foreseen, so no further row is spent on it; a stop by the model is not."""
        self._ending = self.decoding.due()
        for request in self._ending:
            if request.stops_by_length:
                self.decoding.leave(request)
                self.cache.leave(request)
