"""What stands before the engine's own queue: permits, a model that still has to be loaded, a bounded waiting room."""

from collections import deque
from collections.abc import Callable

from simpy import Environment, Timeout

from sim.clock import ps
from sim.engine import Door
from sim.request import End, Request


class FrontDoor:
    """Lets requests through in order of arrival; an arrival that has to wait here never reaches the engine."""

    def __init__(
        self,
        env: Environment,
        door: Door,
        let_in: Callable[[Request], None],
        turn_away: Callable[[Request, End], None],
    ) -> None:
        self.env = env
        self.door = door
        self._let_in = let_in
        self._turn_away = turn_away
        self._inside = 0
        self._queue: deque[Request] = deque()
        self._loading = False
        self._loaded = door.load_s == 0

    @property
    def waiting(self) -> int:
        """Requests outside."""
        return len(self._queue)

    def arrive(self, request: Request) -> None:
        """A request knocks."""
        permits = self.door.permits
        if not self._loaded:
            self._wait_for_load(request)
        elif permits is None or self._inside < permits:
            self._admit(request)
        else:
            self._queue.append(request)

    def left(self, request: Request) -> None:
        """A request that was let in has ended; the next one may enter."""
        self._inside -= 1
        if self._queue and self._loaded:
            self._admit(self._queue.popleft())

    def withdraw(self, request: Request) -> bool:
        """The client goes away; True when it was still outside."""
        if request in self._queue:
            self._queue.remove(request)
            return True
        return False

    def _admit(self, request: Request) -> None:
        self._inside += 1
        request.entered_ps = self.env.now
        self._let_in(request)

    def _wait_for_load(self, request: Request) -> None:
        """The first request is in hand while the model loads; those behind it wait, up to the limit."""
        limit = self.door.pending_limit
        if not self._loading:
            self._loading = True
            Timeout(self.env, ps(self.door.load_s)).callbacks.append(lambda _: self._open())
        elif limit is not None and not self.door.waits_inside and len(self._queue) > limit:
            self._turn_away(request, End.REJECTED)
            return
        self._queue.append(request)

    def _open(self) -> None:
        self._loaded = True
        permits = self.door.permits
        while self._queue and (permits is None or self._inside < permits):
            self._admit(self._queue.popleft())
