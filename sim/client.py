"""The client's side: how long it waits for an answer, and what it does when none comes."""

from collections import deque
from collections.abc import Callable

from simpy import Event

from sim.clock import Clock, ps
from sim.request import End, Request

# A deadline and the end of a step may fall together; which was planned first must not decide who is served.
_BEFORE_ARRIVALS = 0
_WORTH_ANOTHER_TRY = frozenset({End.REJECTED, End.FAILED, End.TIMED_OUT})


class Client:
    """Sends requests, hangs up on those that take too long, and asks again as a new attempt of the same request.

    All waiting requests share one alarm: patience is the same for all, so who was sent first runs out of it first.
    """

    def __init__(
        self,
        env: Clock,
        send: Callable[[Request], None],
        cancel: Callable[[Request, End], None],
        timeout_s: float | None = None,
        retries: int = 0,
        backoff_s: float = 1.0,
    ) -> None:
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"a timeout must be longer than 0 s, got {timeout_s}; None waits for ever")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries}")
        self.env = env
        self.retries = retries
        self._send = send
        self._cancel = cancel
        self._timeout_ps = None if timeout_s is None else ps(timeout_s)
        self._backoff_ps = ps(backoff_s)
        self._patient: deque[tuple[int, Request]] = deque()  # (deadline, request) in order of deadline
        self._alarm_is_set = False
        self._hung_up: set[Request] = set()  # have gone, though the server does not know yet

    def send_request(self, request: Request) -> None:
        """The request goes out now, and with it its patience begins."""
        if self._timeout_ps is not None:
            self._watch(request, self.env.now + self._timeout_ps)
        self._send(request)

    def ended(self, request: Request) -> Request | None:
        """The server is done with the request: the next attempt, already planned, or None when this is the end."""
        self._hung_up.discard(request)
        if request.attempt > self.retries or request.end not in _WORTH_ANOTHER_TRY:
            return None
        return self._plan_retry(request)

    def hang_up(self, request: Request) -> None:
        """The client goes away for good, in the queue or in the middle of its answer."""
        self._leave(request, End.ABORTED)

    def _plan_retry(self, request: Request) -> Request:
        """The same request once more, after a pause that doubles with every attempt."""
        pause_ps = self._backoff_ps << (request.attempt - 1)
        retry = Request(
            request.id,
            request.prompt_tokens,
            request.output_tokens,
            request.limit,
            self.env.now + pause_ps,
            request.user,
            request.priority,
            request.prefix,
            request.own,
            request.attempt + 1,
        )
        retry.stops_by_length = request.stops_by_length  # a server may have cut the output to what fits
        self.env.call_in(pause_ps, lambda _: self.send_request(retry))
        return retry

    # -- patience

    def _watch(self, request: Request, deadline_ps: int) -> None:
        self._forget_answered()
        self._patient.append((deadline_ps, request))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._patient and not self._alarm_is_set:
            self._alarm_is_set = True
            self.env.call_in(self._patient[0][0] - self.env.now, self._ring, _BEFORE_ARRIVALS)

    def _ring(self, _: Event) -> None:
        """Hang up on everyone whose deadline has come; set the alarm for the next one who still waits."""
        self._alarm_is_set = False
        while self._patient and self._patient[0][0] <= self.env.now:
            self._leave(self._patient.popleft()[1], End.TIMED_OUT)
        self._forget_answered()
        self._set_alarm()

    def _forget_answered(self) -> None:
        patient = self._patient
        while patient and patient[0][1].end is not None:
            patient.popleft()

    def _leave(self, request: Request, end: End) -> None:
        if request.end is None and request not in self._hung_up:
            self._hung_up.add(request)
            self._cancel(request, end)
