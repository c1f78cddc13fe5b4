"""The SimPy side of a core: gives its decisions their time, takes many equal steps as one event."""

from collections.abc import Callable
from typing import NamedTuple

from simpy import Event

from sim.batch import Batch
from sim.clock import Clock
from sim.core import Core
from sim.cost import FOREVER, StepCost, Stride
from sim.journal import Journal
from sim.notes import Notes
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
        self.notes = Notes(journal)
        self._cost = cost
        self._tell_ended = ended
        self._rank = 2 + number
        # a limit of 1 takes every step by itself; the results are the same
        self._stride_limit = FOREVER if stride_limit is None else stride_limit
        self._pipelined = core.scheduler.pipelined
        self._inbox: list[tuple[Request, End | None]] = []  # came or went after the next step was decided
        self._knocking = 0  # of them, those who came
        self._batch: Batch | None = None
        self._stride = Stride(0)
        self._steps = 0
        self._start_ps = self._end_ps = 0
        self._end_event: Event | None = None  # None while this replica is the one whose turn it is
        self._deciding = False

    # -- what others ask of it

    def submit(self, request: Request) -> None:
        """A request reaches the engine now."""
        late = self._pipelined and self._batch is not None and not self._heard_in_time()
        if late and not self.core.scheduler.refuses(request):
            self._inbox.append((request, None))
            self._knocking += 1
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
        return View(scheduler.waiting_count + self._knocking, scheduler.running_count)

    # -- arrivals

    def _deliver(self, request: Request) -> None:
        request.prefill_mark = self.notes.prefill_ps
        if not self.core.submit(request):
            self._leave(request)
        elif self._batch is None:
            if not self._deciding:
                self._deciding = True
                self.env.call_last(self._decide)
        elif self._steps > 1 and self.core.scheduler.notices(request):
            self._cut_for_arrival()

    def _heard_in_time(self) -> bool:
        """Whether a step is still undecided within the stride under way."""
        elapsed = self.env._now - self._start_ps
        return not elapsed or elapsed <= self._stride.total(self._steps - 1)

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
            self._end_ps = self._start_ps + self._stride.total(steps)
            if self._end_event is not None:
                self._plan_end()

    # -- the loop: decide, run, complete

    def _decide(self, _: Event) -> None:
        """Everybody has spoken: the decision is due."""
        self._start_next()
        if self._batch is None:
            return
        if self.env.skip_to(self._end_ps):
            self._carry_on()
        else:
            self._plan_end()

    def _ended(self, event: Event) -> None:
        """The stride is over, unless it was cut short since."""
        if event is self._end_event:
            self._end_event = None
            self._carry_on()

    def _carry_on(self) -> None:
        """Finish stride after stride as long as nobody else has anything to do before the end of the next one."""
        env = self.env
        while True:
            self._finish()
            if self._batch is None:
                if not env.is_last():
                    env.call_last(self._decide)
                    return
                self._start_next()
                if self._batch is None:
                    return
            if not env.skip_to(self._end_ps):
                self._plan_end()
                return

    def _plan_end(self) -> None:
        self._end_event = self.env.call_in(self._end_ps - self.env.now, self._ended, self._rank)

    def _start_next(self) -> None:
        """Decide, and start what was decided."""
        batch = self.core.schedule()
        while batch is not None and not batch.passes:  # only memory moved
            self._note_decision(batch)
            batch = self.core.schedule()
        if batch is not None:
            self._run(batch)
        self._deciding = False

    def _run(self, batch: Batch) -> None:
        """Start the batch now."""
        stride = self._cost.stride(batch)
        steps = batch.steady_steps
        if stride.steps < steps:
            steps = stride.steps
        if self._stride_limit < steps:
            steps = self._stride_limit
        self._batch, self._stride, self._steps = batch, stride, steps
        self._start_ps = start = self.env._now
        self._end_ps = start + (stride.total(steps) if steps > 1 else stride.first_ps)
        if batch.pieces or batch.preempted or batch.paused or batch.failed or batch.rejected:
            self._note_decision(batch)

    def _note_decision(self, batch: Batch) -> None:
        if batch.failed or batch.rejected:
            for request in (*batch.failed, *batch.rejected):
                self._leave(request)
        self.notes.decision(self.env._now, self.core, batch)

    def _finish(self) -> None:
        """Results come out; who decides ahead goes on with what is decided already."""
        batch, core, steps = self._batch, self.core, self._steps
        assert batch is not None
        if steps > 1:
            core.scheduler.repeat(steps - 1)
        start, now, stride = self._start_ps, self.env._now, self._stride
        self.notes.stride(batch, stride, steps, start, now)
        if batch.pieces:
            self.notes.first_tokens(batch, stride.prefill_ps, start, now)
        following = core.schedule() if self._pipelined else None  # was decided when this stride began
        if following is not None and not following.passes:
            self._note_decision(following)
            following = None
        ended = core.complete(batch, following is None)
        if following is not None:
            self._run(following)
        else:
            self._batch = None
            self._deciding = True  # whoever arrives before need not ask for the decision
        if ended or self._inbox:
            self._hand_out(ended)

    def _hand_out(self, ended: list[Request]) -> None:
        """Answers reach their users, who may ask again at once; then whoever knocked meanwhile is let in."""
        now, tell = self.env._now, self._tell_ended
        for request in ended:
            request.end_ps = now
            tell(request)
        if self._inbox:
            self._open_inbox()

    def _open_inbox(self) -> None:
        inbox, self._inbox, self._knocking = self._inbox, [], 0
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
