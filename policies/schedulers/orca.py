"""Orca's iteration-level batching: join and leave at every step, memory reserved to the end, nobody pushed out."""

from dataclasses import dataclass, field

from policies.caches.reserved import ReservedCache
from policies.schedulers import option_checks as check
from policies.schedulers.one_pass import one_pass
from sim.batch import Batch, Piece
from sim.cache import KVCache
from sim.prediction import predicted_output
from sim.request import Request
from sim.scheduler import Scheduler

# What is reserved: the model's length; the prompt and the client's limit, or the true output rounded up to a power
# of two, or the true output itself.
RESERVATIONS = ("max", "limit", "pow2", "oracle")


@dataclass
class Orca(Scheduler):
    """Whole prompts in one step, together with the decodes."""

    max_batch_size: int = 32
    reserve: str = "max"

    cache: ReservedCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.counts(self, "max_batch_size")
        check.word(self, "reserve", RESERVATIONS)
        self.clairvoyant = self.clairvoyant or self.reserve in ("pow2", "oracle")

    def bind(self, cache: KVCache) -> None:
        """Take possession of a reserving cache and start with an empty queue."""
        if not isinstance(cache, ReservedCache):
            raise TypeError(f"{type(self).__name__.lower()} needs a reserved cache, got {type(cache).__name__}")
        super().bind(cache)
        self.cache = cache
        self.running: dict[Request, None] = {}
        self.context_limit = cache.max_model_len
        self._admissions = 0

    # -- who may come in

    def notices(self, request: Request) -> bool:
        """A newcomer matters only at the head of the queue, with a place and its memory free."""
        if self.head() is not request or len(self.running) >= self.max_batch_size:
            return False
        return self.cache.room_for(self.reservation(request))

    def reservation(self, request: Request) -> int:
        """Cells that the request takes from its admission to its end."""
        longest = self.cache.max_model_len
        if self.reserve == "max":
            return longest
        if self.reserve == "limit":
            output = request.limit
        else:
            output = predicted_output(request)
            if self.reserve == "pow2":
                output = 1 << (output - 1).bit_length()
        return min(request.prompt_tokens + output, longest)

    # -- the queue: first come, first served

    def head(self) -> Request | None:
        """Who is next; nobody behind it is admitted before it."""
        return self.waiting[0] if self.waiting else None

    def take_head(self) -> None:
        """The head has been admitted."""
        self.waiting.popleft()

    def drop(self, request: Request) -> None:
        """A waiting client has gone."""
        self.waiting.remove(request)

    # -- one step

    def schedule(self) -> Batch | None:
        """All running requests, and those who may join them."""
        decodes, context = self.decoding.count, self.decoding.context
        self.cache.advance(1)
        self.decoding.advance(1)
        pieces = self._admit()
        if not decodes and not pieces:
            return None
        one = one_pass(decodes, context + decodes, pieces)
        return Batch(decodes, (one,), pieces, self._steady_steps(pieces), context=context)

    def _admit(self) -> list[Piece]:
        pieces: list[Piece] = []
        while len(self.running) < self.max_batch_size:
            request = self.head()
            if request is None or not self.cache.reserve(request, self.reservation(request)):
                break
            self.take_head()
            self.running[request] = None
            self._admissions += 1
            request.order = self._admissions
            tokens = request.prompt_tokens
            pieces.append(Piece(request, tokens, 0, ends=True, kind="new"))
            self.decoding.join(request, tokens)
            self.cache.join(request, tokens)
        return pieces

    def _steady_steps(self, pieces: list[Piece]) -> int:
        """Until someone finishes: who was not admitted now waits for a place or for memory."""
        return 1 if pieces else 1 + self.decoding.steps_left()

    # -- how a request goes away

    def finish(self, request: Request) -> None:
        """Give the place and the reservation back."""
        del self.running[request]
        self.decoding.leave(request)
        self.cache.release(request)

    def abort(self, request: Request) -> None:
        """The client has gone, from the queue or from the batch."""
        if request in self.running:
            self.finish(request)
        else:
            self.drop(request)

    @property
    def running_count(self) -> int:
        """Requests in the batch."""
        return len(self.running)
