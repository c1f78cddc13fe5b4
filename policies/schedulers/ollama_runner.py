"""Ollama's newer runner (v0.6 to v0.24): fixed slots, visited in turn; prompts and answers share each step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from policies.caches.ollama_cells import OllamaCells
from policies.caches.slots import content_of
from policies.schedulers import option_checks as check
from policies.schedulers.slot_shares import Share, passes
from sim.batch import Batch, Pass, Piece
from sim.cache import KVCache
from sim.request import Request
from sim.scheduler import Scheduler

# An answer longer than this many contexts is cut: a model that repeats itself would never stop.
MOST_CONTEXTS_ANSWERED = 10


@dataclass
class OllamaRunner(Scheduler):
    """One budget of `num_batch` tokens for all slots: answers that stand behind a long prompt are skipped for a step.

    With `lookahead` the next step is built while one computes: an answer that has ended still gets one row.
    """

    num_batch: int = 512
    context_shift: bool = True  # a full slot drops half of its context; otherwise the answer ends there
    truncate: bool = True  # an over-long prompt loses its middle; otherwise it is refused
    lookahead: bool = True

    cache: OllamaCells = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.counts(self, "num_batch")
        check.switches(self, "context_shift", "truncate", "lookahead")
        self.pipelined = self.lookahead

    def bind(self, cache: KVCache) -> None:
        """Take possession of the slots' cells and start with every slot free."""
        if not isinstance(cache, OllamaCells):
            raise TypeError(f"an Ollama runner needs Ollama's cells, got {type(cache).__name__}")
        super().bind(cache)
        self.cache = cache
        self.num_ctx = cache.lane_tokens
        self.slots: list[Request | None] = [None] * cache.slots
        self.next_seq = 0  # where the next step begins its round
        self._slot_of: dict[Request, int] = {}
        self._apart: set[Request] = set()  # in a slot but not in lockstep: prompts under way, answers skipped
        self._admissions = 0

    # -- who may come in

    @property
    def cuts_prompts(self) -> bool:
        """As it was told."""
        return self.truncate

    def refuses(self, request: Request) -> bool:
        """Without truncation a prompt longer than a slot is answered with an error."""
        return not self.truncate and request.prompt_tokens > self.num_ctx

    def output_bound(self, request: Request) -> int:
        """The client's limit, at most ten contexts; without context shift what the slot has room for."""
        bound = min(request.limit, MOST_CONTEXTS_ANSWERED * self.num_ctx)
        if self.context_shift:
            return bound
        return min(bound, self.num_ctx - min(request.prompt_tokens, self.num_ctx) + 1)

    def submit(self, request: Request) -> None:
        """Wait for a slot; what a slot cannot hold of the prompt is cut out of its middle."""
        if request.prompt_tokens > self.num_ctx:
            request.prompt_tokens = self.num_ctx
            request.prefix, request.own = (), None  # it no longer begins like any other prompt
        self.waiting.append(request)

    def notices(self, request: Request) -> bool:
        """A newcomer changes something only if a slot is free for it."""
        return self.waiting[0] is request and len(self._slot_of) < len(self.slots)

    def _fill_slots(self) -> None:
        while self.waiting and len(self._slot_of) < len(self.slots):
            self._place(self.waiting.popleft())

    def _place(self, request: Request) -> None:
        """The free slot that holds the longest beginning of the prompt; one prompt token is always computed."""
        content = content_of(request)
        free = (slot for slot, holder in enumerate(self.slots) if holder is None)
        slot = max(free, key=lambda slot: self.cache.kept(slot, content)) if content else next(free)
        kept = min(self.cache.kept(slot, content), request.prompt_tokens - 1)
        self.cache.place(request, slot, kept)
        self.slots[slot] = request
        self._slot_of[request] = slot
        self._apart.add(request)
        self._admissions += 1
        request.order = self._admissions
        request.computed = request.cached_tokens = kept

    # -- one step

    def schedule(self) -> Batch | None:
        """Answers alone go on in lockstep; as long as there are prompts every slot is visited."""
        if self.waiting:
            self._fill_slots()
        if not self._slot_of:
            return None
        if self._apart or len(self._slot_of) > self.rows_of_a_pass:
            return self._visit_slots()
        return self._next_tokens()

    def _next_tokens(self) -> Batch:
        """One token for every slot."""
        cache, decoding = self.cache, self.decoding
        decodes, context = decoding.count, decoding.context
        rows = len(self._slot_of)
        cache.shift_full()
        cache.advance(1)
        decoding.advance(1)
        left = decoding.steps_left()
        steady_steps = 1 + cache.steps_until_change(left) if left > 0 and rows == decodes else 1
        one = Pass(rows, rows * cache.span, 0, outputs=rows, padded=rows)
        batch = Batch(rows, (one,), steady_steps=steady_steps, context=context)
        batch.wasted = rows - decodes
        return batch

    def _visit_slots(self) -> Batch:
        """Give every slot its share, in turn, and bring the memory to where the step leaves it."""
        shares, skipped = self.share_out()
        for request in skipped:
            self._take_apart(request)
        cache, decoding = self.cache, self.decoding
        cache.shift_full()
        for slot, request, _ in shares:
            if request.generated and request in self._apart:
                cache.shift_if_full(slot)
        cut = passes(shares, self.rows_of_a_pass, self._is_prompt, partial(cache.span_of, 0))
        decodes, context = decoding.count, decoding.context
        cache.advance(1)
        decoding.advance(1)
        pieces = [self._settle(share) for share in shares if share.request in self._apart]
        wasted = len(shares) - len(pieces) - decodes
        batch = Batch(decodes + wasted, cut, pieces, 1, context)
        batch.wasted = wasted
        batch.paused = skipped
        return batch

    @property
    def rows_of_a_pass(self) -> int:
        """The most rows that one pass over the weights computes."""
        return self.num_batch

    def share_out(self) -> tuple[list[Share], list[Request]]:
        """What each slot gets, in the order of the batch, and which decoding requests get nothing.

        The first slot that gets nothing begins the next round, so nobody is skipped for long.
        """
        room, resume = self.num_batch, self.next_seq
        shares, skipped = [], []
        nobody_went_empty = True
        for slot, request, wanted in self.round():
            if room:
                tokens = min(wanted, room)
                room -= tokens
                shares.append(Share(slot, request, tokens))
                continue
            if nobody_went_empty:
                resume, nobody_went_empty = slot, False
            if request.lockstep:
                skipped.append(request)
        self.next_seq = resume
        return shares, skipped

    def round(self) -> Iterator[tuple[int, Request, int]]:
        """Every busy slot once, from `next_seq` on: its number, its request and the tokens that it would like."""
        apart, first = self._apart, self.next_seq
        for slot in (*range(first, len(self.slots)), *range(first)):
            request = self.slots[slot]
            if request is not None:
                yield slot, request, request.known_tokens - request.computed if request in apart else 1

    def _is_prompt(self, request: Request) -> bool:
        return request in self._apart and not request.generated

    def _take_apart(self, request: Request) -> None:
        self.decoding.leave(request)
        self.cache.leave(request)
        self._apart.add(request)

    def _settle(self, share: Share) -> Piece:
        """Memory for a share outside lockstep; what reaches its last known token decodes from the next step on."""
        slot, request, tokens = share
        cache, context = self.cache, request.computed
        kind = "running" if request.generated or context > request.cached_tokens else "new"
        ends = context + tokens == request.known_tokens
        held = cache.context(slot) + tokens
        cache.grow(request, held)
        if ends:
            self._apart.remove(request)
            self.decoding.join(request, context + tokens)
            cache.join(request, held)
        else:
            request.computed = context + tokens
        return Piece(request, tokens, context, ends, kind)

    # -- how a request goes away

    def finish(self, request: Request) -> None:
        """The slot is free and keeps what it holds for the next prompt that begins alike."""
        slot = self._slot_of.pop(request)
        self.slots[slot] = None
        self._apart.discard(request)
        if request.lockstep:
            self.decoding.leave(request)
        self.cache.release(request)

    @property
    def running_count(self) -> int:
        """Busy slots."""
        return len(self._slot_of)
