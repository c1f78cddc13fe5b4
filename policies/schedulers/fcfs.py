"""First come, first served, one request at a time: the scheduler to read first."""

from dataclasses import dataclass

from policies.schedulers import option_checks as check
from sim.batch import Batch, Pass, Piece, prefill_cells
from sim.cache import KVCache
from sim.errors import PolicyError
from sim.request import Request
from sim.scheduler import Scheduler


@dataclass
class Fcfs(Scheduler):
    """The whole prompt in one step, then one token a step; the next request starts when this one has ended."""

    max_model_len: int = 8192

    def __post_init__(self) -> None:
        check.counts(self, "max_model_len")

    def bind(self, cache: KVCache) -> None:
        """Take possession of a cache and start with an empty queue."""
        super().bind(cache)
        self.running: Request | None = None
        self._admissions = 0
        self.context_limit = min(self.max_model_len, cache.capacity_tokens)

    # -- who may come in

    def notices(self, request: Request) -> bool:
        """Nobody who comes while a request runs changes anything for it."""
        return self.running is None

    # -- one step

    def schedule(self) -> Batch | None:
        """The next token of the running request, or the prompt of the next one in the queue."""
        if self.running is not None:
            return self._next_token()
        if self.waiting:
            return self._prompt(self.waiting.popleft())
        return None

    def _prompt(self, request: Request) -> Batch:
        tokens = request.prompt_tokens
        if not self.cache.grow(request, tokens):
            raise PolicyError(f"fcfs: an empty cache of {self.cache.capacity_tokens} tokens cannot hold {request}")
        self.running = request
        self._admissions += 1
        request.order = self._admissions
        # From the next step on the request decodes: the group counts its tokens, nobody visits it.
        self.decoding.join(request, tokens)
        self.cache.join(request, tokens)
        one = Pass(0, 0, 0, tokens, prefill_cells(tokens, 0), outputs=1, padded=tokens)
        return Batch(0, (one,), [Piece(request, tokens, 0, ends=True, kind="new")])

    def _next_token(self) -> Batch:
        before = self.decoding.context
        self.cache.advance(1)
        self.decoding.advance(1)
        one = Pass(decodes=1, cells=before + 1, growth=1, outputs=1, padded=1)
        # The decision is the same until the last token, so the replica may take all those steps at once.
        steady_steps = 1 + self.cache.steps_until_change(self.decoding.steps_left())
        return Batch(1, (one,), steady_steps=steady_steps, context=before)

    # -- how a request goes away

    def finish(self, request: Request) -> None:
        """Give the memory and the place back."""
        self.decoding.leave(request)
        self.cache.release(request)
        self.running = None

    @property
    def running_count(self) -> int:
        """One or none."""
        return int(self.running is not None)
