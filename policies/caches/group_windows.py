"""Windows of requests: how many leading blocks each has passed, and on which step it passes the next.

A window moves when its request is scheduled again, and counts only tokens whose results are known: with asynchronous
scheduling a step later.
"""

from collections.abc import Iterator, Mapping, Set
from heapq import heappop, heappush

from policies.caches.group_strides import turns
from sim.request import Request


class Windows:
    """A window that follows token by token passes a block every round of steps, and is kept by step modulo the round.

    Every other window of a request in lockstep waits for its next move in a heap, by step.
    """

    def __init__(self, window: int, block_size: int, pipelined: bool) -> None:
        self.window = window
        self.block_size = block_size
        self.pipelined = pipelined
        self.passed_total = 0
        self.sliding: list[dict[Request, None]] = [{} for _ in range(block_size)]  # by the steps of their turn
        self._ahead: set[Request] = set()  # of those, who made the next step's move ahead of `advance`
        self._step = 0  # the one that comes next
        self._passed: dict[Request, int] = {}  # leading blocks; stale while sliding
        self._scheduled: dict[Request, tuple[int, int]] = {}  # step of the last chunk, tokens computed before it
        self._bases: dict[Request, int] = {}  # context minus the step count of requests in lockstep
        self._planned: list[tuple[int, int, Request]] = []  # heap: step, ticket
        self._awaited: dict[Request, tuple[int, int]] = {}  # step and ticket that are valid
        self._tickets = 0

    def outgrown(self, tokens: int) -> int:
        """Query: blocks wholly before the window of the token that follows `tokens` others."""
        return max(0, tokens - self.window + 1) // self.block_size

    def passed(self, request: Request) -> int:
        """Query: leading blocks that the window has passed."""
        if request in self._bases and request not in self._awaited:
            return self.outgrown(self._known(request, self._step - (request not in self._ahead)))
        return self._passed.get(request, 0)

    # -- a request on its own

    def begin(self, request: Request, computed: int) -> None:
        """Verb: a newcomer gets its first chunk behind `computed` tokens that are here already."""
        self._passed[request] = first = self.outgrown(computed)
        self.passed_total += first
        self._scheduled[request] = (self._step - 1, computed)  # the step under way has been counted already

    def follow(self, request: Request, computed: int) -> range:
        """Verb: the window of a request that may get its next chunk moves; the blocks it passes."""
        step, before = self._scheduled[request]
        return self._move(request, before if self.pipelined and step == self._step - 1 else computed)

    def schedule(self, request: Request, computed: int) -> None:
        """Verb: the request gets its next chunk behind `computed` tokens."""
        self._scheduled[request] = (self._step, computed)

    def end(self, request: Request) -> None:
        """Verb: forget the request."""
        self.passed_total -= self._passed.pop(request, 0)
        self._scheduled.pop(request, None)

    def _move(self, request: Request, known: int) -> range:
        passed = range(self._passed[request], self.outgrown(known))
        if passed:
            self._passed[request] = passed.stop
            self.passed_total += len(passed)
        return passed

    # -- requests in lockstep

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        self._bases[request] = tokens - self._step
        self._await(request, self._step)

    def leave(self, request: Request) -> None:
        """Verb: the request gains no more tokens."""
        self._passed[request] = self.passed(request)
        if self._awaited.pop(request, None) is None:
            del self.sliding[self._phase(request)][request]
            self._ahead.discard(request)
        del self._bases[request]

    def moving(self) -> dict[Request, None]:
        """Query: the joined requests whose windows move in the next step."""
        moving = self.sliding[self._step % self.block_size].copy()
        if self.undisturbed(1) == 0:
            moving.update((request, None) for request, (step, _) in self._awaited.items() if step <= self._step)
        return moving

    def moves(self, request: Request) -> bool:
        """Query: whether the window of a joined request moves in the next step."""
        if request in self._awaited:
            return self._awaited[request][0] <= self._step
        return request in self.sliding[self._step % self.block_size]

    def undisturbed(self, limit: int) -> int:
        """Query: how many of the next `limit` steps are sure to see no window move but in its turn."""
        return max(0, min(limit, self._planned[0][0] - self._step)) if self._planned else limit

    def move(self, request: Request) -> range:
        """Verb: the window of a joined request makes its move of the next step now; the blocks it passes."""
        if request not in self._awaited:
            if request in self._ahead or request not in self.sliding[self._step % self.block_size]:
                return range(0)
            self._passed[request] = self.passed(request)
            self._ahead.add(request)
        return self._move(request, self._known(request, self._step))

    def advance(self, steps: int) -> int:
        """Verb: every joined request gained `steps` tokens; how many blocks windows passed that `move` did not tell."""
        before, end = self.passed_total, self._step + steps
        self.passed_total += turns(self.sliding, self._step, steps) - len(self._ahead)
        self._ahead.clear()
        for request, step in self._due(end):
            self._move(request, self._known(request, step))
            if self._takes_turns(request, step):
                self.passed_total += self.outgrown(self._known(request, end - 1)) - self._passed[request]
        self._step = end
        return self.passed_total - before

    def _known(self, request: Request, step: int) -> int:
        """Tokens of a joined request whose results are known when a step is decided."""
        if not self.pipelined:
            return self._bases[request] + step
        scheduled, before = self._scheduled[request]
        return before if scheduled == step - 1 else self._bases[request] + step - 1

    def _await(self, request: Request, earliest: int) -> None:
        """Plan the next move: on the step that the next block is outgrown on, or later."""
        outgrown = self.window - 1 + (self._passed[request] + 1) * self.block_size
        step = max(earliest, outgrown + self.pipelined - self._bases[request])
        self._tickets += 1
        self._awaited[request] = (step, self._tickets)
        heappush(self._planned, (step, self._tickets, request))

    def _due(self, end: int) -> Iterator[tuple[Request, int]]:
        """Requests whose next move is out of turn and before the step `end`, and its step."""
        while self._planned and self._planned[0][0] < end:
            step, ticket, request = heappop(self._planned)
            if self._awaited.get(request) == (step, ticket):
                yield request, step

    def _takes_turns(self, request: Request, step: int) -> bool:
        """After a move out of turn: whether the window follows token by token from now on."""
        if self.pipelined and self._scheduled[request][0] == step - 1:
            self._await(request, step + 1)
            return False
        del self._awaited[request]
        self.sliding[self._phase(request)][request] = None
        return True

    def _phase(self, request: Request) -> int:
        """The steps, modulo the block size, on which a sliding window leaves a block behind."""
        return (self.window - 1 + self.pipelined - self._bases[request]) % self.block_size

    def check(self, requests: Set[Request], bases: Mapping[Request, int]) -> None:
        """Query: every joined request awaits its window's next move once, and what windows passed adds up."""
        assert self._passed.keys() == self._scheduled.keys() == requests
        assert self._bases == bases
        assert sum(map(self.passed, requests)) == self.passed_total
        assert sum(map(len, self.sliding)) + len(self._awaited) == len(self._bases)
        assert self._ahead <= self._bases.keys()
        for phase, bucket in enumerate(self.sliding):
            assert all(self._phase(request) == phase for request in bucket)
