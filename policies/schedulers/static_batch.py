"""Request-level batching: a batch is filled, runs until its last request has ended, and only then comes the next."""

from dataclasses import dataclass, field

from policies.caches.reserved import ReservedCache
from policies.schedulers import option_checks as check
from policies.schedulers.one_pass import one_pass
from sim.batch import Batch, Pass, Piece
from sim.cache import KVCache
from sim.request import Request
from sim.scheduler import Scheduler


@dataclass
class StaticBatch(Scheduler):
    """Clients get their tokens as they come; places and memory are given back when the whole batch is over.

    With `pad_finished` a finished row is computed until then, over the cells it has filled; otherwise the batch
    shrinks.
    """

    max_batch_size: int = 8
    pad_finished: bool = False

    cache: ReservedCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.counts(self, "max_batch_size")
        check.switches(self, "pad_finished")

    def bind(self, cache: KVCache) -> None:
        """Take possession of a reserving cache and start with an empty queue."""
        if not isinstance(cache, ReservedCache):
            raise TypeError(f"static_batch needs a reserved cache, got {type(cache).__name__}")
        super().bind(cache)
        self.cache = cache
        self.context_limit = cache.max_model_len
        self.members: list[Request] = []  # of the batch under way, ended or not
        self._finished_rows = 0
        self._finished_cells = 0
        self._admissions = 0

    # -- who may come in

    def notices(self, request: Request) -> bool:
        """Nobody joins a batch under way."""
        return not self.members

    # -- one step

    def schedule(self) -> Batch | None:
        """The next token of the batch under way, or all prompts of the next batch."""
        if self.members:
            return self._next_tokens()
        pieces = self._open_batch()
        return Batch(0, (one_pass(0, 0, pieces),), pieces) if pieces else None

    def _open_batch(self) -> list[Piece]:
        pieces: list[Piece] = []
        longest = self.cache.max_model_len
        while self.waiting and len(self.members) < self.max_batch_size:
            request = self.waiting[0]
            if not self.cache.reserve(request, longest):
                break
            self.waiting.popleft()
            self.members.append(request)
            self._admissions += 1
            request.order = self._admissions
            tokens = request.prompt_tokens
            pieces.append(Piece(request, tokens, 0, ends=True, kind="new"))
            self.decoding.join(request, tokens)
            self.cache.join(request, tokens)
        return pieces

    def _next_tokens(self) -> Batch:
        live, context = self.decoding.count, self.decoding.context
        wasted = self._finished_rows if self.pad_finished else 0
        cells = context + live + (self._finished_cells if self.pad_finished else 0)
        self.cache.advance(1)
        self.decoding.advance(1)
        rows = live + wasted
        one = Pass(rows, cells, live, outputs=rows, padded=rows)
        steady_steps = 1 + self.decoding.steps_left()
        batch = Batch(rows, (one,), steady_steps=steady_steps, context=context)
        batch.wasted = wasted
        return batch

    # -- how a request goes away

    def finish(self, request: Request) -> None:
        """The row is over; with the last one the batch is, and its memory comes free."""
        self.decoding.leave(request)
        self.cache.close(request)
        self._finished_rows += 1
        self._finished_cells += request.computed
        if not self.decoding.count:
            self._close_batch()

    def _close_batch(self) -> None:
        for request in self.members:
            self.cache.release(request)
        self.members.clear()
        self._finished_rows = self._finished_cells = 0

    @property
    def running_count(self) -> int:
        """Requests of the batch that have not ended."""
        return self.decoding.count
