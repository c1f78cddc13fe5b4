"""The decode group: requests that each gain one token a step, held as sums so that n steps cost as much as one."""

from heapq import heappop, heappush

from sim.cost import FOREVER
from sim.request import Request


class Decoding:
    """Counts steps; knows how many requests decode, how long their contexts are together, and who finishes when."""

    __slots__ = ("_finishing", "_stale", "clock", "context", "count", "ends_at")

    def __init__(self) -> None:
        self.clock = 0  # steps scheduled so far
        self.count = 0
        self.context = 0  # sum of computed tokens
        self.ends_at = FOREVER  # nobody finishes before this clock
        self._stale = False  # `ends_at` may name one who left
        self._finishing: list[tuple[int, int, Request]] = []

    def join(self, request: Request, context: int) -> None:
        """The step just scheduled brings the request to `context` computed tokens and samples one more."""
        request.base = context - self.clock
        request.lockstep = True
        request.finish_at = finish_at = self.clock + request.output_tokens - request.generated - 1
        if finish_at < self.ends_at:
            self.ends_at = finish_at
        self.count += 1
        self.context += context
        heappush(self._finishing, (finish_at, request.order, request))

    def leave(self, request: Request) -> None:
        """The request steps out; its own counters say again how far it is."""
        request.computed = request.base + self.clock
        request.generated = request.computed - request.prompt_tokens + 1
        request.lockstep = False
        if request.finish_at >= 0:
            self._stale = True
        self.count -= 1
        self.context -= request.computed

    def advance(self, steps: int) -> None:
        """Every member gains `steps` tokens."""
        self.clock += steps
        self.context += steps * self.count

    def context_of(self, request: Request) -> int:
        """Computed tokens of a member or of a request on its own."""
        return request.base + self.clock if request.lockstep else request.computed

    def steps_left(self) -> int:
        """Steps after which the next member finishes; 0 when one has sampled its last token already."""
        if self._stale:
            self._drop_those_who_left()
        return self.ends_at - self.clock if self.count else 0

    def due(self) -> list[Request]:
        """Members whose last token is sampled by the steps scheduled so far, in order of admission."""
        ready: list[Request] = []
        heap, clock = self._finishing, self.clock
        while heap and heap[0][0] <= clock:
            finish_at, _, request = heappop(heap)
            if request.lockstep and request.finish_at == finish_at:
                request.finish_at = -1
                ready.append(request)
        self.ends_at = heap[0][0] if heap else FOREVER
        if len(ready) > 1:
            ready.sort(key=_by_order)
        return ready

    def _drop_those_who_left(self) -> None:
        """Have `ends_at` name a present member."""
        self._stale = False
        heap = self._finishing
        while heap:
            finish_at, _, request = heap[0]
            if request.lockstep and request.finish_at == finish_at:
                break
            heappop(heap)
        self.ends_at = heap[0][0] if heap else FOREVER


def _by_order(request: Request) -> int:
    return request.order
