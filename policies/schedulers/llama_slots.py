"""llama.cpp's server: a request takes a slot for its whole life; every step serves all slots that generate.

What is left of n_batch goes to prompts, by slot number and not by age. Nobody is preempted.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

from policies.caches.slots import SlotCache, content_of
from policies.caches.unified import UnifiedCache
from policies.schedulers.llama_passes import Chunk, futile_passes, one_pass, separate_passes, shared_passes
from policies.schedulers.slot_choice import SlotChoice
from policies.schedulers.ubatches import plain_passes, while_some_generate
from sim.batch import Batch, Piece
from sim.cache import KVCache
from sim.request import End, Request
from sim.scheduler import Scheduler


@dataclass
class LlamaSlots(Scheduler):
    """The fields are the server's own options; slots and context are the cache's."""

    n_batch: int = 2048
    n_ubatch: int = 512
    cont_batching: bool = True
    slot_prompt_similarity: float = 0.1
    cache_prompt: bool = True
    cache_ram_tokens: int = 0  # what --cache-ram holds
    cache_idle_slots: bool = False
    kv_bytes_per_token: int = 0

    cache: SlotCache = field(init=False, repr=False, compare=False)

    def bind(self, cache: KVCache) -> None:
        """Take possession of slots and start with empty queues."""
        if not isinstance(cache, SlotCache):
            raise TypeError(f"llama_slots needs a cache of slots, got {type(cache).__name__}")
        if cache.slots > self.n_batch:
            raise ValueError(f"llama_slots: {cache.slots} slots need more than a batch of {self.n_batch} tokens")
        super().bind(cache)
        self.cache = cache
        self.queue: deque[Request] = deque()  # to be looked at before the next step
        self.deferred: deque[Request] = deque()  # found no slot; each release moves one to the queue's front
        clears_idle = self.cache_idle_slots and isinstance(cache, UnifiedCache)
        self._choice = SlotChoice(cache, self.slot_prompt_similarity, self.cache_ram_tokens, clears_idle)
        self.idle = self._choice.idle  # least recently used first
        self._requests: list[Request | None] = [None] * cache.slots
        self.slot_of: dict[Request, int] = {}  # of requests that have one
        self._generating: list[int] = []  # slots in lockstep, by number
        self._prompting: list[int] = []  # slots with a prompt to compute, by number
        self._begun: set[int] = set()  # of those, the ones visited before
        self._vacated: list[int] = []  # by the last step; they are free before the next
        self._groups: list[int] | None = None  # rows of each pass while all slots generate
        self._unified = isinstance(cache, UnifiedCache)
        self._overrun = False
        self._admissions = 0

    # -- queues

    def output_bound(self, request: Request) -> int:
        """Generation stops when prompt and output fill the slot's context."""
        return max(1, self.cache.lane_tokens - request.prompt_tokens)

    def submit(self, request: Request) -> None:
        """Wait to be looked at before the next step."""
        self.queue.append(request)

    def notices(self, request: Request) -> bool:
        """A newcomer without a slot only joins the queue.

        When fewer wait than slots can come free at once, it matters whether it was deferred before they did.
        """
        return bool(self.idle) or len(self.deferred) < self.cache.slots

    @property
    def waiting_count(self) -> int:
        """Requests without a slot."""
        return len(self.queue) + len(self.deferred)

    @property
    def running_count(self) -> int:
        """Requests with a slot, begun or not."""
        return len(self.slot_of)

    def finish(self, request: Request) -> None:
        """The slot is free and keeps what it holds."""
        slot = self.slot_of.pop(request)
        if request.lockstep:
            self.decoding.leave(request)
            self._generating.remove(slot)
            self._groups = None
        elif slot in self._prompting:
            self._prompting.remove(slot)
            self._begun.discard(slot)
        self.cache.release(request)
        self._requests[slot] = None
        self._vacated.append(slot)

    def abort(self, request: Request) -> None:
        """A client's disconnect takes the request out of the queues or frees its slot."""
        if request in self.slot_of:
            self._free_slots()
            self.finish(request)
            self._free_slots()
        elif request in self.queue:
            self.queue.remove(request)
        else:
            self.deferred.remove(request)

    def _free_slots(self) -> None:
        """Slots come free in the order of their numbers, and each lets one deferred request jump the queue."""
        self._vacated.sort()
        for slot in self._vacated:
            self.idle.append(slot)
            if self.deferred:
                self.queue.appendleft(self.deferred.popleft())
        self._vacated.clear()

    # -- slots

    def _start_tasks(self) -> None:
        """Look at everybody in the queue: into a slot, or to the end of those deferred."""
        queue = self.queue
        while queue:
            request = queue.popleft()
            if not self.idle:
                self.deferred.append(request)
                continue
            slot = self._choice.take(request)
            self._requests[slot] = request
            self.slot_of[request] = slot
            insort(self._prompting, slot)

    # -- one step

    def schedule(self) -> Batch | None:
        """A token for every generating slot, then prompts up to n_batch."""
        if self._overrun:
            return self._fail_everybody()
        if self._vacated:
            self._free_slots()
        if self.queue:
            self._start_tasks()
        count = self.decoding.count
        if self._prompting and (self.cont_batching or not count) and count < self.n_batch:
            return self._mixed_step()
        if not count:
            return None
        if self._unified and not self._make_room(count):
            return self._overrun_step()
        return self._decode_step()

    def _decode_step(self) -> Batch:
        decoding, cache = self.decoding, self.cache
        groups = self._groups or self._compose()
        count, context = decoding.count, decoding.context
        cache.advance(1)
        decoding.advance(1)
        passes = tuple([one_pass(rows, 0, rows, span) for rows, span in zip(groups, cache.spans(), strict=True)])
        batch = Batch(count, passes, (), 1, context)
        if self._choice.copied_tokens:
            self._charge_copies(batch)
        else:
            left = decoding.steps_left()
            if left > 0:
                batch.steady_steps = 1 + cache.steps_until_change(left)
        return batch

    def _compose(self) -> list[int]:
        """How the generating slots share passes, until one of them stops or another begins."""
        slots = self._generating
        if self._unified:
            groups = plain_passes(len(slots), self.n_ubatch)
            self.cache.read_together([slots] * len(groups))
        else:
            passes = while_some_generate(tuple(slots), ())
            groups = [len(one) for one in passes]
            self.cache.read_together(passes)
        self._groups = groups
        return groups

    def _mixed_step(self) -> Batch:
        """Prompts beside the generating slots; those too long for a slot are refused when their turn comes."""
        decoding, cache = self.decoding, self.cache
        count, context = decoding.count, decoding.context
        rejected: list[Request] = []
        pieces, chunks = self._prompt_pieces(self.n_batch - count, rejected)
        if not pieces and not count:
            return self._rejecting(Batch(0, ()), rejected)
        if not self._unified:
            passes = separate_passes(cache, tuple(self._generating), chunks, self.n_ubatch)
        elif self._make_room(count + sum([tokens for _, tokens, _, _ in chunks])):
            passes = shared_passes(cache, count, chunks, self.n_ubatch)
        else:
            return self._rejecting(self._overrun_step(), rejected)
        cache.advance(1)
        decoding.advance(1)
        for piece, chunk in zip(pieces, chunks, strict=True):
            self._settle(piece.request, chunk)
        batch = Batch(count, passes, pieces, 1, context)
        self._charge_copies(batch)
        return self._rejecting(batch, rejected)

    def _prompt_pieces(self, budget: int, rejected: list[Request]) -> tuple[list[Piece], list[Chunk]]:
        """What each prompt gets, by request and by slot."""
        pieces: list[Piece] = []
        chunks: list[Chunk] = []
        for slot in self._prompting.copy():
            if not budget:
                break
            request = self._requests[slot]
            assert request is not None
            kind = "running"
            if slot not in self._begun:
                if request.prompt_tokens >= self.cache.lane_tokens:
                    self._reject(request, rejected)
                    continue
                self._begin(slot, request)
                kind = "new"
            before = request.computed
            rest = request.prompt_tokens - before
            tokens = min(budget, rest)
            pieces.append(Piece(request, tokens, before, tokens == rest, kind))
            chunks.append(Chunk(slot, tokens, before, tokens == rest))
            budget -= tokens
        return pieces, chunks

    def _begin(self, slot: int, request: Request) -> None:
        """The first visit: what the slot holds of the prompt need not be computed, but for its last token."""
        kept, content = 0, content_of(request)
        if content and self.cache_prompt:
            kept = min(self.cache.kept(slot, content), request.prompt_tokens - 1)
        self.cache.place(request, slot, kept)
        self._begun.add(slot)
        self._admissions += 1
        request.order = self._admissions
        request.computed = request.cached_tokens = kept

    def _settle(self, request: Request, chunk: Chunk) -> None:
        """A prompt that is complete generates with the others from the next step on."""
        slot, tokens, before, ends = chunk
        context = before + tokens
        self.cache.grow(request, context)
        request.computed = context
        if ends:
            self._prompting.remove(slot)
            self._begun.remove(slot)
            self.decoding.join(request, context)
            self.cache.join(request, context)
            insort(self._generating, slot)
            self._groups = None

    def _charge_copies(self, batch: Batch) -> None:
        if self._choice.copied_tokens:
            batch.host_bytes = self._choice.take_copied() * self.kv_bytes_per_token

    # -- requests that cannot be served

    def _reject(self, request: Request, rejected: list[Request]) -> None:
        request.end = End.REJECTED
        rejected.append(request)
        self.finish(request)

    def _rejecting(self, batch: Batch, rejected: list[Request]) -> Batch:
        if rejected:
            batch.rejected = rejected
        return batch

    def _make_room(self, tokens: int) -> bool:
        """Clear idle slots one by one, the lowest number first, until the tokens find free cells."""
        cache = self.cache
        if tokens <= cache.free_cells:
            return True
        for slot in sorted(self.idle):
            if cache.context(slot):
                cache.clear(slot)
                if tokens <= cache.free_cells:
                    return True
        return False

    def _overrun_step(self) -> Batch:
        """The pool is too small for the step: it is tried in ever smaller views, in vain."""
        self._overrun = True
        cache = self.cache
        passes = futile_passes(
            self.decoding.count, cache.free_cells, self.n_batch, self.n_ubatch, cache.capacity_tokens
        )
        return Batch(0, passes) if passes else self._fail_everybody()

    def _fail_everybody(self) -> Batch:
        """Every request that has a slot is answered with an error, and the slots are cleared."""
        self._overrun = False
        failed = [request for request in self._requests if request is not None]
        for request in failed:
            slot = self.slot_of[request]
            request.end = End.FAILED
            self.finish(request)
            self.cache.clear(slot)
        batch = Batch(0, ())
        batch.failed = failed
        return batch
