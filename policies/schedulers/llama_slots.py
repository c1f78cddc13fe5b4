"""llama.cpp's server: a request takes a slot for its whole life; every step serves all slots that generate.

What is left of n_batch goes to prompts, by slot number and not by age. Nobody is preempted.
"""

from bisect import insort
from dataclasses import dataclass

from policies.caches.slots import content_of
from policies.caches.unified import UnifiedCache
from policies.schedulers import option_checks as check
from policies.schedulers.llama_passes import SeparateStreams, SharedStream
from policies.schedulers.llama_tasks import LlamaTasks
from sim.batch import Batch, Piece
from sim.cache import KVCache
from sim.request import End, Request


@dataclass
class LlamaSlots(LlamaTasks):
    """The fields are the server's own options; slots and context are the cache's."""

    n_batch: int = 2048
    n_ubatch: int = 512
    cont_batching: bool = True
    cache_prompt: bool = True
    kv_bytes_per_token: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.counts(self, "n_batch", "n_ubatch")
        check.counts(self, "kv_bytes_per_token", least=0)
        check.switches(self, "cont_batching", "cache_prompt")

    def bind(self, cache: KVCache) -> None:
        """Take possession of slots, whose streams are separate or one."""
        super().bind(cache)
        if self.cache.slots > self.n_batch:
            check.refuse(self, "n_batch", f"{self.cache.slots} or more, a token for each slot")
        self._pool = SharedStream(cache, self.n_batch, self.n_ubatch) if isinstance(cache, UnifiedCache) else None
        self._streams = self._pool or SeparateStreams(self.cache, self.n_ubatch)
        self._overrun = False
        self._admissions = 0

    # -- one step

    def schedule(self) -> Batch | None:
        """A token for every generating slot, then prompts up to n_batch."""
        if self._overrun:
            return self._fail_everybody()
        if self.vacated:
            self.free_slots()
        if self.queue:
            self.start_tasks()
        count = self.decoding.count
        if self.prompting and (self.cont_batching or not count) and count < self.n_batch:
            return self._mixed_step()
        return self._decode_step() if count else None

    def _decode_step(self) -> Batch:
        decoding, cache = self.decoding, self.cache
        count, context = decoding.count, decoding.context
        if self._pool and not self._pool.make_room(count, (), self.idle):
            return self._overrun_step(self._pool)
        cache.advance(1)
        decoding.advance(1)
        batch = Batch(count, self._streams.decodes(self.generating), (), 1, context, 0)
        if self.choice.copied_tokens:
            self._charge_copies(batch)
        else:
            left = decoding.steps_left()
            if left > 0:
                batch.steady_steps = 1 + cache.steps_until_change(left)
        return batch

    def _mixed_step(self) -> Batch:
        """Prompts beside the generating slots; those too long for a slot are refused when their turn comes."""
        decoding, pool = self.decoding, self._pool
        count, context = decoding.count, decoding.context
        rejected: list[Request] = []
        slots, pieces = self._prompt_pieces(self.n_batch - count, rejected)
        if not pieces and not count:
            batch = Batch(0, ())
        elif pool and not pool.make_room(count, pieces, self.idle):
            batch = self._overrun_step(pool)
        else:
            passes = self._streams.mixed(self.generating, slots, pieces)
            self.cache.advance(1)
            decoding.advance(1)
            prompt = 0
            for piece in pieces:
                prompt += piece.tokens
                self._settle(piece)
            batch = Batch(count, passes, pieces, 1, context, prompt)
            if self.choice.copied_tokens:
                self._charge_copies(batch)
        if rejected:
            batch.rejected = rejected
        return batch

    def _prompt_pieces(self, budget: int, rejected: list[Request]) -> tuple[list[int], list[Piece]]:
        """The slots whose prompts have a part in the step, and what each gets."""
        slots: list[int] = []
        pieces: list[Piece] = []
        for slot in self.prompting.copy():
            if not budget:
                break
            request = self.holders[slot]
            assert request is not None
            kind = "running"
            if request.order < 0:
                if request.prompt_tokens >= self.cache.lane_tokens:
                    self._reject(request, rejected)
                    continue
                self._begin(slot, request)
                kind = "new"
            before = request.computed
            rest = request.prompt_tokens - before
            tokens, ends = (rest, True) if rest <= budget else (budget, False)
            slots.append(slot)
            pieces.append(Piece(request, tokens, before, ends, kind))
            budget -= tokens
        return slots, pieces

    def _begin(self, slot: int, request: Request) -> None:
        """The first visit: what the slot holds of the prompt need not be computed, but for its last token."""
        kept = 0
        if self.cache_prompt and (request.prefix or request.own is not None):
            kept = min(self.cache.kept(slot, content_of(request)), request.prompt_tokens - 1)
        self.cache.place(request, slot, kept)
        self._admissions = request.order = self._admissions + 1
        request.computed = request.cached_tokens = kept

    def _settle(self, piece: Piece) -> None:
        """A prompt that is complete generates with the others from the next step on."""
        request = piece.request
        context = request.computed = piece.context + piece.tokens
        self.cache.grow(request, context)
        if piece.ends:
            self.decoding.join(request, context)
            self.cache.join(request, context)
            slot = self.slot_of[request]
            self.prompting.remove(slot)
            insort(self.generating, slot)

    def _charge_copies(self, batch: Batch) -> None:
        batch.host_bytes = self.choice.take_copied() * self.kv_bytes_per_token

    # -- requests that cannot be served

    def _reject(self, request: Request, rejected: list[Request]) -> None:
        request.end = End.REJECTED
        rejected.append(request)
        self.finish(request)

    def _overrun_step(self, pool: SharedStream) -> Batch:
        """The pool is too small for the step: it is tried in ever smaller views, and what they compute is lost."""
        decodes = self.decoding.count
        batch = Batch(decodes, pool.futile(decodes), (), 1, self.decoding.context)
        if not batch.passes:
            return self._fail_everybody()
        self._overrun = True
        batch.wasted = decodes
        return batch

    def _fail_everybody(self) -> Batch:
        """Every request that has a slot is answered with an error, and the slots are cleared."""
        self._overrun = False
        failed = [request for request in self.holders if request is not None]
        for request in failed:
            slot = self.slot_of[request]
            request.end = End.FAILED
            self.finish(request)
            self.cache.clear(slot)
        batch = Batch(0, ())
        batch.failed = failed
        return batch
