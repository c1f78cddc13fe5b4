"""Sarathi-Serve: decodes first, then as much of the prompts as the step's chunk has left."""

from dataclasses import dataclass, field

from policies.caches.paged import PagedCache
from policies.schedulers import option_checks as check
from policies.schedulers.one_pass import one_pass
from sim.batch import Batch, Piece
from sim.cache import KVCache
from sim.request import Request
from sim.scheduler import Scheduler


@dataclass
class Sarathi(Scheduler):
    """`chunk_size` tokens a step. A prompt takes all its blocks when it is admitted; outputs take theirs as they grow,

    and when none is left the request admitted last is pushed out and computed again later.
    """

    chunk_size: int = 512
    max_num_seqs: int = 128
    max_model_len: int = 8192

    cache: PagedCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.counts(self, "chunk_size", "max_num_seqs", "max_model_len")

    def bind(self, cache: KVCache) -> None:
        """Take possession of a paged cache and start with empty queues."""
        if not isinstance(cache, PagedCache):
            raise TypeError(f"sarathi needs a paged cache, got {type(cache).__name__}")
        super().bind(cache)
        self.cache = cache
        self.running: dict[Request, None] = {}  # in order of admission, which is the order of arrival
        self.partial: dict[Request, None] = {}  # running, with prompt left to compute
        self._admissions = 0
        self.context_limit = min(self.max_model_len, cache.capacity_tokens)

    # -- who may come in

    def notices(self, request: Request) -> bool:
        """Behind others, without a place or without its blocks a newcomer changes nothing: blocks only get fewer."""
        return (
            self.waiting[0] is request
            and len(self.running) < self.max_num_seqs
            and self.cache.blocks_for(request.prompt_tokens) <= self.cache.free_blocks
        )

    # -- one step

    def schedule(self) -> Batch | None:
        """Decodes, then prompts under way, then the queue."""
        preempted = self._make_room_for_decodes()
        decodes, context = self.decoding.count, self.decoding.context
        self.cache.advance(1)
        self.decoding.advance(1)
        left = self.chunk_size - decodes
        pieces: list[Piece] = []
        for request in list(self.partial):
            left -= self._serve(request, left, "running", pieces)
        self._admit(left, pieces)
        if not decodes and not pieces:
            return None
        one = one_pass(decodes, context + decodes, pieces)
        steady_steps = 1 if pieces or preempted or self.partial else self._steady_steps()
        batch = Batch(decodes, (one,), pieces, steady_steps, context)
        batch.preempted = preempted
        return batch

    def _make_room_for_decodes(self) -> list[Request]:
        """Find a block for each decode that needs one; the last of the running gives way, at worst the one in need."""
        preempted: list[Request] = []
        if not self.cache.short:
            return preempted
        for request in self.cache.crossing():
            while request in self.running and not self.cache.grant(request):
                victim = next(reversed(self.running))
                self._preempt(victim)
                preempted.append(victim)
        return preempted

    def _admit(self, left: int, pieces: list[Piece]) -> None:
        """Take waiting requests in order while the chunk lasts, until the first whose prompt finds no memory."""
        while left > 0 and self.waiting and len(self.running) < self.max_num_seqs:
            request = self.waiting[0]
            if not self.cache.grow(request, request.known_tokens):
                return
            self.waiting.popleft()
            self.running[request] = None
            self.partial[request] = None
            self._admissions += 1
            request.order = self._admissions
            left -= self._serve(request, left, "resumed" if request.preemptions else "new", pieces)

    def _serve(self, request: Request, left: int, kind: str, pieces: list[Piece]) -> int:
        """Compute what the chunk allows of the request's prompt: the number of tokens."""
        known, context = request.known_tokens, request.computed
        tokens = min(known - context, left)
        if tokens <= 0:
            return 0
        ends = context + tokens == known
        pieces.append(Piece(request, tokens, context, ends, kind))
        if ends:
            del self.partial[request]
            self.decoding.join(request, known)
            self.cache.join(request, known)
        else:
            request.computed += tokens
        return tokens

    def _steady_steps(self) -> int:
        return 1 + self.cache.steps_until_change(self.decoding.steps_left())

    # -- how a request goes away

    def _preempt(self, request: Request) -> None:
        """Forget the progress and wait at the front of the queue."""
        self.finish(request)
        request.computed = 0
        request.preemptions += 1
        self.waiting.appendleft(request)

    def finish(self, request: Request) -> None:
        """Give the place and the blocks back."""
        del self.running[request]
        self.partial.pop(request, None)
        if request.lockstep:
            self.decoding.leave(request)
        self.cache.release(request)

    @property
    def running_count(self) -> int:
        """Requests in the batch."""
        return len(self.running)
