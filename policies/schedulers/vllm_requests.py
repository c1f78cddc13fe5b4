"""vLLM V1's requests: where each of them waits, and how it leaves the batch."""

from bisect import insort
from dataclasses import dataclass, field
from heapq import heappush
from operator import attrgetter

from policies.caches.paged import PagedCache
from policies.schedulers import option_checks as check
from sim.cache import KVCache
from sim.request import Request
from sim.scheduler import Scheduler

POLICIES = ("fcfs", "priority")

_by_order = attrgetter("order")


@dataclass
class VllmRequests(Scheduler):
    """The queue and the batch; the steps are a subclass's."""

    policy: str = "fcfs"
    async_scheduling: bool = False

    cache: PagedCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.word(self, "policy", POLICIES)
        check.switches(self, "async_scheduling")
        self.pipelined = self.async_scheduling

    def bind(self, cache: KVCache) -> None:
        """Take possession of a paged cache and start with an empty queue and an empty batch."""
        if not isinstance(cache, PagedCache):
            raise TypeError(f"vllm_v1 needs a paged cache, got {type(cache).__name__}")
        super().bind(cache)
        self.cache = cache
        self._ranked: list[tuple[int, int, int, Request]] = []  # waits instead of `waiting` under the priority policy
        self.running: dict[Request, None] = {}  # in order of admission
        self.partial: list[Request] = []  # running but not in lockstep: prompts under way, decodes left out
        self._prefilled: list[Request] = []  # their prompts ended with the step decided last
        self._left_out: list[Request] = []
        self._admissions = 0

    # -- the queue

    def submit(self, request: Request) -> None:
        """Join the end of the queue, or the place that the priority gives."""
        if self.policy == "priority":
            heappush(self._ranked, (*_rank(request), request))
        else:
            self.waiting.append(request)

    @property
    def waiting_count(self) -> int:
        """Requests not in the batch."""
        return len(self.waiting) + len(self._ranked)

    @property
    def running_count(self) -> int:
        """Requests in the batch."""
        return len(self.running)

    def queue(self) -> list[Request]:
        """The waiting requests, front first."""
        return [entry[-1] for entry in sorted(self._ranked)] or list(self.waiting)

    # -- how a request goes away

    def finish(self, request: Request) -> None:
        """Free the blocks and the place; a request preempted with its last token under way only leaves the queue."""
        if request not in self.running:
            self._drop_waiting(request)
        elif request.lockstep and self.pipelined:  # it stopped by itself, with a row too many under way
            self._let_go(request, 1)
        else:
            self._let_go(request, 0)

    def abort(self, request: Request) -> None:
        """A client's disconnect frees what the request holds."""
        self.finish(request)

    def leave_out(self, request: Request) -> None:
        """A decoding request gets no token in this step: the budget ended before its turn."""
        self.decoding.leave(request)
        self.cache.leave(request)
        insort(self.partial, request, key=_by_order)
        self._left_out.append(request)

    def preempt(self, request: Request) -> None:
        """Recompute later: free all blocks, forget the progress, go back to the front of the queue."""
        sampling = self.pipelined and request not in self.partial and request not in self._prefilled
        self._let_go(request, int(sampling))
        request.computed = 0
        request.preemptions += 1
        if self.policy == "priority":
            heappush(self._ranked, (*_rank(request), request))
        else:
            self.waiting.appendleft(request)

    def _let_go(self, request: Request, unsettled: int) -> None:
        """Take the request out of the batch and the memory."""
        del self.running[request]
        if request.lockstep:
            self.decoding.leave(request)
        elif request in self.partial:
            self.partial.remove(request)
        self.cache.release(request, unsettled)

    def _drop_waiting(self, request: Request) -> None:
        if self.policy == "priority":
            self._ranked = sorted(entry for entry in self._ranked if entry[-1] is not request)
        else:
            self.waiting.remove(request)


def _rank(request: Request) -> tuple[int, int, int]:
    return request.priority, request.arrival_ps, request.id
