"""What is noted as a replica goes along: on the requests what they went through, in its journal what the steps were."""

from sim.batch import Batch
from sim.core import Core
from sim.cost import Stride
from sim.journal import Journal
from sim.request import Request

DECISIONS_A_SAMPLE = 8  # of the memory, among those that move it


class Notes:
    """Counts the time spent on prompts and on decoding, and what of it passed while a request was under way."""

    __slots__ = ("_decisions", "_record", "decode_ps", "journal", "prefill_ps")

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._record = journal.strides.append
        self._decisions = 0
        self.prefill_ps = 0
        self.decode_ps = 0

    # -- decisions

    def decision(self, now: int, core: Core, batch: Batch) -> None:
        """Who got in and who had to give way: all at the instant of the decision."""
        for piece in batch.pieces:
            kind = piece.kind
            if kind == "running":
                continue
            request = piece.request
            if kind == "new":
                request.admitted_ps = now
                request.prefill_mark, request.decode_mark = self.prefill_ps, self.decode_ps
            else:
                self._interruption(request, now, 1)
        if batch.preempted or batch.paused:
            self._steps_out(batch, now)
        self._decisions += 1
        if self._decisions % DECISIONS_A_SAMPLE == 0:
            self.journal.sample(now, core.cache.usage())

    def _steps_out(self, batch: Batch, now: int) -> None:
        self.journal.preemptions += len(batch.preempted)
        for request in batch.preempted:
            self._interruption(request, now, -1)
        for request in (*batch.preempted, *batch.paused):
            if request.last_token_ps < 0:  # else it was interrupted again before its next token
                request.last_token_ps = now

    def _interruption(self, request: Request, now: int, sign: int) -> None:
        """What passes while a request is out of the batch is neither its prompt time nor its decode time."""
        if request.first_token_ps < 0:
            request.preemption_ps += sign * now
            request.prefill_mark += sign * self.prefill_ps
            request.decode_mark += sign * self.decode_ps

    # -- strides

    def stride(self, batch: Batch, stride: Stride, steps: int, start: int, now: int) -> None:
        """Write the stride down, and what its time was spent on."""
        prefill = stride.prefill_ps
        self.decode_ps += now - start - prefill
        if prefill:
            self.prefill_ps += prefill
        record = self._record
        tokens = batch.decodes - batch.wasted
        record((start, stride.first_ps, stride.growth_ps, steps, tokens, batch.prompt_tokens, batch.context))

    def first_tokens(self, batch: Batch, prefill_ps: int, start: int, now: int) -> None:
        """Prompts that are complete give their first token; interrupted requests go on."""
        for piece in batch.pieces:
            request = piece.request
            if request.first_token_ps >= 0:
                if piece.ends:
                    self._goes_on(request, start, now)
                continue
            request.own_prefill_ps += prefill_ps * piece.tokens // batch.prompt_tokens
            if piece.ends:
                request.first_token_ps = now
                request.last_token_ps = -1
                request.prefill_mark = self.prefill_ps - request.prefill_mark
                request.decode_mark = self.decode_ps - request.decode_mark

    def _goes_on(self, request: Request, start: int, now: int) -> None:
        """A token after steps without one."""
        last = request.last_token_ps
        gap = now - (start if last < 0 else last)  # with the others until this step
        self.journal.gaps.append((now, gap))
        request.stall_ps = max(request.stall_ps, gap)
        request.last_token_ps = -1
