"""vLLM V1: running requests first, then waiting ones, all from one token budget; memory runs out by preemption."""

from bisect import bisect_left
from dataclasses import dataclass
from heapq import heappop

from policies.schedulers import option_checks as check
from policies.schedulers.vllm_requests import VllmRequests
from policies.schedulers.vllm_running import RunningPhase
from sim.batch import Batch, Pass, Piece, prefill_cells
from sim.cache import KVCache
from sim.request import Request


@dataclass
class VllmV1(VllmRequests):
    """The fields are the engine's own options."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_model_len: int = 8192
    enable_chunked_prefill: bool = True
    scheduler_reserve_full_isl: bool = True
    watermark: float = 0.0
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    graph_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check.counts(self, "max_num_seqs", "max_num_batched_tokens", "max_model_len")
        check.counts(self, "long_prefill_token_threshold", least=0)
        check.numbers(self, "watermark", most=1)
        check.switches(
            self, "enable_chunked_prefill", "scheduler_reserve_full_isl", "long_prefill_token_threshold_adaptive"
        )
        if not isinstance(self.graph_sizes, tuple):
            check.refuse(self, "graph_sizes", "a tuple of batch sizes")

    def bind(self, cache: KVCache) -> None:
        """Take possession of a paged cache and start with empty queues."""
        super().bind(cache)
        self.context_limit = self.max_model_len
        self._padded = padded_rows(self.graph_sizes)
        self._spare = int(self.watermark * self.cache.num_blocks)

    # -- who may come in

    def notices(self, request: Request) -> bool:
        """A newcomer behind others, or with every place taken, changes nothing until something ends."""
        if self.policy == "priority" or self.long_prefill_token_threshold:
            return True
        return self.waiting[0] is request and len(self.running) < self.max_num_seqs

    # -- one step

    def schedule(self) -> Batch | None:
        """Running requests first; waiting ones only if nobody had to give way."""
        decoding = self.decoding
        decodes, context = decoding.count, decoding.context
        if self.partial or decodes > self.max_num_batched_tokens or not self.cache.step():
            return self._schedule_one_by_one()
        decoding.advance(1)
        if self._prefilled:
            self._prefilled = []
        if self.waiting or self._ranked:
            pieces: list[Piece] = []
            self._admit(self.max_num_batched_tokens - decodes, pieces)
            if pieces:
                return self._batch(decodes, context, pieces)
        return self._decode_batch(decodes, context) if decodes else None

    def _schedule_one_by_one(self) -> Batch | None:
        """Blocks or budget may not suffice for every running request, so each is asked."""
        walk = RunningPhase(self)
        walk.serve()
        decodes, context = self.decoding.count, self.decoding.context
        self.cache.advance(1)
        self.decoding.advance(1)
        self._prefilled = []
        for piece in walk.pieces:
            if piece.ends:
                self.partial.remove(piece.request)
            self._settle(piece.request, piece.context + piece.tokens, piece.ends)
        if not walk.preempted and walk.budget > 0:
            self._admit(walk.budget, walk.pieces)
        if not decodes and not walk.pieces and not walk.preempted:
            return None
        if walk.pieces:
            batch = self._batch(decodes, context, walk.pieces)
        else:
            batch = self._decode_batch(decodes, context) if decodes else Batch(0, ())
            batch.steady_steps = 1
        batch.preempted = walk.preempted
        batch.paused, self._left_out = self._left_out, []
        return batch

    def _admit(self, budget: int, pieces: list[Piece]) -> None:
        """Take waiting requests in order until the first that does not fit."""
        cache, running, waiting = self.cache, self.running, self.waiting
        cap = self.chunk_cap() if self.long_prefill_token_threshold else 0
        while budget > 0 and (waiting or self._ranked) and len(running) < self.max_num_seqs:
            request = waiting[0] if waiting else self._ranked[0][-1]
            known = request.prompt_tokens + request.generated
            cached = cache.cached_tokens(request, known)
            tokens = known - cached
            if cap and tokens > cap:
                tokens = cap
            if tokens > budget:
                if not self.enable_chunked_prefill:
                    return
                tokens = budget
            reached = cached + tokens
            whole = known if self.scheduler_reserve_full_isl else reached
            if not cache.admits(request, cached, reached, whole, self._spare if running else 0):
                return
            cache.admit(request, cached, reached)
            pieces.append(self._begin(request, tokens, cached, reached == known))
            budget -= tokens

    def _begin(self, request: Request, tokens: int, cached: int, ends: bool) -> Piece:
        """The front of the queue, whose memory is taken, gets into the batch."""
        if self.waiting:
            self.waiting.popleft()
        else:
            heappop(self._ranked)
        self.running[request] = None
        self._admissions = request.order = self._admissions + 1
        kind = "resumed"
        if not request.preemptions:
            kind = "new"
            request.cached_tokens = cached
        if not ends:
            self.partial.append(request)
        self._settle(request, cached + tokens, ends)
        return Piece(request, tokens, cached, ends, kind)

    def _settle(self, request: Request, context: int, ends: bool) -> None:
        """A prompt that is complete starts to decode with the others from the next step on."""
        if ends:
            self.decoding.join(request, context)
            self.cache.join(request, context)
            self._prefilled.append(request)
        else:
            request.computed = context

    def _batch(self, decodes: int, context: int, pieces: list[Piece]) -> Batch:
        prompt = attended = 0
        outputs = decodes
        for piece in pieces:
            tokens = piece.tokens
            prompt += tokens
            attended += prefill_cells(tokens, piece.context)
            outputs += piece.ends
        one = Pass(decodes, context + decodes, decodes, prompt, attended, outputs, decodes + prompt)
        return Batch(decodes, (one,), pieces, 1, context, prompt)

    def _decode_batch(self, decodes: int, context: int) -> Batch:
        """Repeats until someone finishes or the blocks run short.

        Who was not admitted into a batch of decodes alone stays out of it while blocks only get fewer.
        """
        padded = self._padded[decodes] if decodes < len(self._padded) else decodes
        one = Pass(decodes, context + decodes, decodes, 0, 0, decodes, padded)
        left = self.decoding.steps_left()
        if self.cache.gives_back and (self.waiting or self._ranked) and len(self.running) < self.max_num_seqs:
            left = self.cache.steps_without_more_room(left)
        steps = 1 + self.cache.steps_until_change(left) if left > 0 else 1
        return Batch(decodes, (one,), (), steps, context, 0)

    # -- rules shared by the two phases

    def chunk_cap(self) -> int:
        """The longest chunk a prompt gets while others could be starved by it; 0 for no cap."""
        eligible = len(self.running) + self.waiting_count
        cap = self.long_prefill_token_threshold
        if not cap or eligible <= 1:
            return 0
        if self.long_prefill_token_threshold_adaptive:
            cap = max(cap, self.max_num_batched_tokens // eligible)
        return cap


def padded_rows(graph_sizes: tuple[int, ...]) -> list[int]:
    """For each number of rows that of the smallest captured graph that takes them; larger batches are not padded."""
    largest = max(graph_sizes, default=-1)
    return [graph_sizes[bisect_left(graph_sizes, rows)] for rows in range(largest + 1)]
