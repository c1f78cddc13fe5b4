"""The SimPy side of a core: gives its decisions their time, takes many equal steps as one event."""

from collections.abc import Callable
from typing import NamedTuple

from simpy import Event

from sim.batch import Batch
from sim.clock import Clock
from sim.core import Core
from sim.cost import FOREVER, StepCost, Stride
from sim.journal import Journal
from sim.request import End, Request


class View(NamedTuple):
    """What a router may know of a replica at an instant."""

    waiting: int
    running: int


class Replica:
    """One running copy of an engine. Idle, or in the middle of a stride that an arrival may cut short."""

    def __init__(
        self,
        env: Clock,
        core: Core,
        cost: StepCost,
        journal: Journal,
        ended: Callable[[Request], None],
        stride_limit: int | None = None,
        number: int = 0,
    ) -> None:
        self.env = env
        self.core = core
        self.journal = journal
        self._record = journal.strides.append
        self._stride_of = cost.stride
        self._tell_ended = ended
        self._rank = 2 + number
        # a limit of 1 takes every step by itself; the results are the same
        self._stride_limit = FOREVER if stride_limit is None else stride_limit
        self._pipelined = core.scheduler.pipelined
        self._inbox: list[tuple[Request, End | None]] = []  # came after the next step was decided
        self._batch: Batch | None = None
        self._stride = Stride(0)
        self._steps = 0
        self._start_ps = 0
        self._end_event: Event | None = None
        self._deciding = False
        self.prefill_ps = 0  # time spent so far on prompts and on decoding
        self.decode_ps = 0

    # -- what others ask of it

    def submit(self, request: Request) -> None:
        """A request reaches the engine now."""
        late = self._pipelined and self._batch is not None and not self._heard_in_time()
        if late and not self.core.scheduler.refuses(request):
            self._inbox.append((request, None))
        else:
            self._deliver(request)

    def abort(self, request: Request, end: End) -> None:
        """The client has gone; the engine sees it with its next decision."""
        if self._batch is None:
            self.core.abort(request, end)
            self._leave(request)
        else:
            self._inbox.append((request, end))
            self._cut(self._stride.steps_covering(self.env.now - self._start_ps))

    def view(self) -> View:
        """Queue lengths now; they change at ends of strides and at arrivals only."""
        scheduler = self.core.scheduler
        return View(scheduler.waiting_count + len(self._inbox), scheduler.running_count)

    # -- arrivals

    def _deliver(self, request: Request) -> None:
        request.prefill_mark = self.prefill_ps
        if not self.core.submit(request):
            self._leave(request)
        elif self._batch is None:
            self._decide_after_this_instant()
        elif self._steps > 1 and self.core.scheduler.notices(request):
            self._cut_for_arrival()

    def _heard_in_time(self) -> bool:
        """Whether a step is still undecided within the stride under way."""
        return self.env.now <= self._start_ps + self._stride.total(self._steps - 1)

    def _cut_for_arrival(self) -> None:
        """End the stride with the step under way, or one later where that one is decided already."""
        elapsed = self.env.now - self._start_ps
        steps = self._stride.steps_covering(elapsed)
        if self._pipelined:
            steps = steps + 1 if elapsed else 1
        self._cut(steps)

    def _cut(self, steps: int) -> None:
        """End the stride after so many steps."""
        if steps < self._steps:
            self._steps = steps
            left = self._start_ps + self._stride.total(steps) - self.env.now
            self._end_event = self.env.call_in(left, self._ended, self._rank)

    # -- the loop: decide, run, complete

    def _decide_after_this_instant(self) -> None:
        if not self._deciding:
            self._deciding = True
            self.env.call_last(self._decide)

    def _decide(self, _: Event | None = None) -> None:
        self._deciding = True  # whoever is turned away and asks again need not ask for a decision
        batch = self.core.schedule()
        while batch is not None and not batch.passes:  # only memory moved
            self._note_decision(batch)
            batch = self.core.schedule()
        if batch is not None:
            self._run(batch)
        self._deciding = False

    def _run(self, batch: Batch) -> None:
        """Start the batch now."""
        stride = self._stride_of(batch)
        steps = min(batch.steady_steps, stride.steps, self._stride_limit)
        self._batch, self._stride, self._steps = batch, stride, steps
        self._start_ps = self.env._now
        duration = stride.first_ps if steps == 1 else stride.total(steps)
        self._end_event = self.env.call_in(duration, self._ended, self._rank)
        if batch.pieces or batch.preempted or batch.paused or batch.failed or batch.rejected:
            self._note_decision(batch)

    def _ended(self, event: Event) -> None:
        """The stride is over: results come out, and the next decision is due."""
        if event is not self._end_event:  # cut short since
            return
        batch, core = self._batch, self.core
        assert batch is not None
        if self._steps > 1:
            core.repeat(self._steps - 1)
        self._account(batch)
        if batch.pieces:
            self._first_tokens(batch)
        following = self._decided_ahead() if self._pipelined else None
        ended = core.complete(batch, following is None)
        if following is not None:
            self._run(following)
            if ended or self._inbox:
                self._hand_out(ended)
            return
        self._batch = None
        self._deciding = True  # whoever arrives now need not ask for a decision
        self._hand_out(ended)
        self._decide_when_all_have_spoken()

    def _decided_ahead(self) -> Batch | None:
        """The step that was decided when the last one began; None when there was nothing to run."""
        following = self.core.schedule()
        if following is not None and not following.passes:
            self._note_decision(following)
            return None
        return following

    def _hand_out(self, ended: list[Request]) -> None:
        """Answers reach their users, who may ask again at once; then whoever knocked meanwhile is let in."""
        now = self.env._now
        for request in ended:
            request.end_ps = now
            self._tell_ended(request)
        if self._inbox:
            self._open_inbox()

    def _decide_when_all_have_spoken(self) -> None:
        """Decide now, or after the other events of this instant if there are any."""
        if self.env.is_last():
            self._decide()
        else:
            self.env.call_last(self._decide)

    def _open_inbox(self) -> None:
        inbox, self._inbox = self._inbox, []
        for request, end in inbox:
            if end is None:
                self._deliver(request)
            elif request.end is None:
                self.core.abort(request, end)
                self._leave(request)
                if self._batch is not None:  # decided ahead, and repeated only as long as nobody goes
                    self._cut(1)

    def _leave(self, request: Request) -> None:
        """An answer without service; it is an event of its own, so that whoever asks again at once does not recurse."""
        if request.end_ps < 0:
            request.end_ps = self.env.now
        self.env.call_in(0, lambda _: self._tell_ended(request))

    # -- what is noted for the journal and the requests

    def _note_decision(self, batch: Batch) -> None:
        """Who got in, who had to give way, who dies: all at the instant of the decision."""
        now = self.env._now
        for piece in batch.pieces:
            if piece.kind == "running":
                continue
            request = piece.request
            if piece.kind == "new":
                request.admitted_ps = now
                request.prefill_mark, request.decode_mark = self.prefill_ps, self.decode_ps
            else:
                self._interruption(request, 1)
        for request in batch.preempted:
            self._interruption(request, -1)
        for request in (*batch.preempted, *batch.paused):
            if request.last_token_ps < 0:  # else it was interrupted again before its next token
                request.last_token_ps = now
        for request in (*batch.failed, *batch.rejected):
            self._leave(request)
        self.journal.note_decision(now, self.core, batch)

    def _interruption(self, request: Request, sign: int) -> None:
        """What passes while a request is out of the batch is neither its prompt time nor its decode time."""
        if request.first_token_ps < 0:
            request.preemption_ps += sign * self.env.now
            request.prefill_mark += sign * self.prefill_ps
            request.decode_mark += sign * self.decode_ps

    def _account(self, batch: Batch) -> None:
        """Write the stride down."""
        first, growth, _, prefill = self._stride
        start = self._start_ps
        self.decode_ps += self.env._now - start - prefill
        if prefill:
            self.prefill_ps += prefill
        tokens = batch.decodes - batch.wasted
        self._record((start, first, growth, self._steps, tokens, batch.prompt_tokens, batch.context))

    def _first_tokens(self, batch: Batch) -> None:
        """Prompts that are complete give their first token; interrupted requests go on."""
        now = self.env._now
        prefill_ps = self._stride.prefill_ps
        for request, tokens, _, ends, _ in batch.pieces:
            if request.first_token_ps >= 0:
                if ends:
                    last = request.last_token_ps
                    gap = now - (self._start_ps if last < 0 else last)  # with the others until this step
                    self.journal.gaps.append((now, gap))
                    request.stall_ps = max(request.stall_ps, gap)
                    request.last_token_ps = -1
                continue
            request.own_prefill_ps += prefill_ps * tokens // batch.prompt_tokens
            if ends:
                request.first_token_ps = now
                request.last_token_ps = -1
                request.prefill_mark = self.prefill_ps - request.prefill_mark
                request.decode_mark = self.decode_ps - request.decode_mark
