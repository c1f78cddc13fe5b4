"""Memory reserved once, at admission, for the longest that a request may become: nothing moves until it is released."""

from bisect import bisect, insort

from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request


class ReservedCache:
    """One reservation a request: a contiguous stretch of cells, the first gap it fits in, or scattered cells."""

    def __init__(self, capacity_tokens: int, max_model_len: int, contiguous: bool = True) -> None:
        if capacity_tokens < max_model_len:
            raise PolicyError(f"reserved cache: {capacity_tokens} tokens cannot hold one request of {max_model_len}")
        self.capacity_tokens = capacity_tokens
        self.max_model_len = max_model_len
        self.contiguous = contiguous
        self.free_tokens = capacity_tokens
        self._size: dict[Request, int] = {}
        self._start: dict[Request, int] = {}
        self._taken: list[tuple[int, int]] = []  # (start, end) of every stretch, in order of address
        self._fillable: dict[Request, int] = {}  # cells of its reservation that the request may come to fill
        self._filled: dict[Request, int] = {}  # tokens of requests that stand on their own
        self._joined: dict[Request, int] = {}  # tokens minus the step count of requests in lockstep
        self._steps = 0
        # sums of the four above, so that the memory figure costs no walk over the requests
        self._fillable_tokens = 0
        self._filled_tokens = 0

    # -- reservations

    def room_for(self, tokens: int) -> bool:
        """Query: whether a reservation of `tokens` would succeed."""
        return self._place(tokens) is not None

    def reserve(self, request: Request, tokens: int) -> bool:
        """Verb: own `tokens` cells until released; False and nothing changed where no gap is long enough."""
        start = self._place(tokens)
        if start is None:
            return False
        if self.contiguous:
            insort(self._taken, (start, start + tokens))
            self._start[request] = start
        self.free_tokens -= tokens
        self._size[request] = tokens
        self._fillable[request] = min(tokens, request.prompt_tokens + request.limit)
        self._fillable_tokens += self._fillable[request]
        self._filled[request] = 0
        return True

    def reserved_tokens(self, request: Request) -> int:
        """Query: cells that the request owns."""
        return self._size.get(request, 0)

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: fill `tokens` cells in all; who has no reservation gets one for the longest request."""
        if tokens > self._size.get(request, self.max_model_len):
            return False
        if request not in self._size and not self.reserve(request, self.max_model_len):
            return False
        self._filled_tokens += tokens - self._filled[request]
        self._filled[request] = tokens
        return True

    def close(self, request: Request) -> None:
        """Verb: the request is over but keeps its cells; those it has not filled never will be."""
        if request in self._joined:
            self.leave(request)
        self._fillable_tokens += self._filled[request] - self._fillable[request]
        self._fillable[request] = self._filled[request]

    def release(self, request: Request) -> None:
        """Verb: give up the reservation."""
        if request not in self._size:
            return
        if request in self._joined:
            self.leave(request)
        size = self._size.pop(request)
        self.free_tokens += size
        self._fillable_tokens -= self._fillable.pop(request)
        self._filled_tokens -= self._filled.pop(request)
        if self.contiguous:
            del self._taken[bisect(self._taken, (self._start.pop(request), 0))]

    # -- requests in lockstep

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        if not self.grow(request, tokens):
            raise PolicyError(f"reserved cache: {request} reserved {self._size.get(request, 0)} cells, needs {tokens}")
        self._joined[request] = self._filled.pop(request) - self._steps

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its cells but gains no more tokens."""
        tokens = self._joined.pop(request) + self._steps
        self._filled[request] = tokens
        if tokens > self._size[request]:
            raise PolicyError(f"reserved cache: {request} reserved {self._size[request]} cells and filled {tokens}")

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens."""
        self._steps += steps
        self._filled_tokens += steps * len(self._joined)

    def steps_until_change(self, limit: int) -> int:
        """Query: all of them; what a request will need is its own already."""
        return limit

    # -- where the cells are

    def usage(self) -> Usage:
        """Query: internal is beyond the request's own limit; external lies in gaps too short for a longest request."""
        held = self.capacity_tokens - self.free_tokens
        reserved = self._fillable_tokens - self._filled_tokens
        external = sum(gap % self.max_model_len for _, gap in self._gaps()) if self.contiguous else 0
        free = self.free_tokens - external
        return Usage(self._filled_tokens, reserved, held - self._fillable_tokens, external, free)

    def _place(self, tokens: int) -> int | None:
        """Where a reservation would begin; None where there is no room."""
        if tokens > self.free_tokens:
            return None
        if not self.contiguous:
            return 0
        return next((start for start, gap in self._gaps() if gap >= tokens), None)

    def _gaps(self) -> list[tuple[int, int]]:
        """(start, length) of every gap, in order of address."""
        ends = [0, *(end for _, end in self._taken)]
        starts = [*(start for start, _ in self._taken), self.capacity_tokens]
        return [(end, start - end) for end, start in zip(ends, starts, strict=True) if start > end]

    def check(self) -> None:
        """Query: reservations neither overlap nor leak, and nobody has filled more than its own."""
        assert sum(self._size.values()) + self.free_tokens == self.capacity_tokens
        assert self._filled.keys() | self._joined.keys() == self._size.keys() == self._fillable.keys()
        assert not self._filled.keys() & self._joined.keys()
        filled = self._filled | {request: base + self._steps for request, base in self._joined.items()}
        assert all(filled[request] <= size for request, size in self._size.items())
        assert sum(filled.values()) == self._filled_tokens
        assert sum(self._fillable.values()) == self._fillable_tokens
        stretches = {(start, start + self._size[request]) for request, start in self._start.items()}
        assert sorted(stretches) == self._taken
        assert all(gap > 0 for _, gap in self._gaps())
        assert sum(self.usage()) == self.capacity_tokens
        if self.contiguous:
            assert sum(gap for _, gap in self._gaps()) == self.free_tokens
