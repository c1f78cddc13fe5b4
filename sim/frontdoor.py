"""What stands before the engine's own queue: permits, a model that must be loaded, a bounded channel before the load.

Once the model is loaded a request goes straight to the permits and waits there without bound. Before that it goes to
the channel, whose one reader takes the first in hand and loads.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from simpy import Event

from sim.clock import Clock, ps
from sim.engine import Door
from sim.request import End, Request

_BEFORE_ARRIVALS = 0  # who comes at the instant at which the model is loaded finds it loaded


class FrontDoor:
    """Lets requests through in order of arrival; an arrival that has to wait here never reaches the engine."""

    def __init__(
        self,
        env: Clock,
        door: Door,
        let_in: Callable[[Request], None],
        turn_away: Callable[[Request, End], None],
    ) -> None:
        self.env = env
        self.door = door
        self._let_in = let_in
        self._turn_away = turn_away
        self._permits = door.permits
        self._inside = 0
        self._admitting = False
        self._queue: OrderedDict[Request, None] = OrderedDict()  # behind the permits
        self._loaded = door.load_s == 0
        self._in_hand: Request | None = None  # while the model is loaded for it
        self._channel: deque[Request] = deque()  # a place is kept even if the client goes: the reader throws it out
        self._withdrawn: set[Request] = set()
        self._refused: set[Request] = set()

    @property
    def waiting(self) -> int:
        """Requests outside."""
        return len(self._queue) + (self._in_hand is not None) + len(self._channel) - len(self._withdrawn)

    # -- what happens at the door

    def arrive(self, request: Request) -> None:
        """A request knocks."""
        if self._loaded or (self._in_hand is not None and self.door.waits_inside):
            self._line_up(request)
        elif self._in_hand is None:
            self._load_for(request)
        elif self.door.pending_limit is not None and len(self._channel) >= self.door.pending_limit:
            self._refuse(request)
        else:
            self._channel.append(request)

    def left(self, request: Request) -> None:
        """A request that was let in has ended; the next one may enter."""
        self._inside -= 1
        if self._queue:
            self._admit_in_order()

    def withdraw(self, request: Request) -> bool:
        """The client goes away; True when it was still outside."""
        if request in self._queue:
            del self._queue[request]
            return True
        if request is self._in_hand or request in self._channel:
            self._withdrawn.add(request)
            return True
        if request in self._refused:
            self._refused.discard(request)
            return True
        return False

    def _refuse(self, request: Request) -> None:
        """Turn away by an event of its own: a client that asks again at once must not call itself for ever."""
        self._refused.add(request)
        self.env.call_in(0, lambda _: self._say_no(request))

    def _say_no(self, request: Request) -> None:
        if request in self._refused:
            self._refused.discard(request)
            self._turn_away(request, End.REJECTED)

    # -- permits

    def _line_up(self, request: Request) -> None:
        if self._loaded and (self._permits is None or self._inside < self._permits) and not self._queue:
            self._admit(request)
        else:
            self._queue[request] = None

    def _admit(self, request: Request) -> None:
        self._inside += 1
        request.entered_ps = self.env.now
        self._let_in(request)

    def _admit_in_order(self) -> None:
        """Fill the free permits; a request that the engine refuses at once frees its own while this runs."""
        if self._admitting:
            return
        self._admitting = True
        while self._queue and (self._permits is None or self._inside < self._permits):
            self._admit(self._queue.popitem(last=False)[0])
        self._admitting = False

    # -- loading

    def _load_for(self, request: Request) -> None:
        self._in_hand = request
        self.env.call_in(ps(self.door.load_s), self._open, _BEFORE_ARRIVALS)

    def _open(self, _: Event) -> None:
        """The model is ready: the request in hand goes first, then the channel, then who waited inside."""
        assert self._in_hand is not None
        counted, inside = (self._in_hand, *self._channel), self._queue
        self._queue = OrderedDict.fromkeys(request for request in counted if request not in self._withdrawn)
        self._queue.update(inside)
        self._in_hand, self._loaded = None, True
        self._channel.clear()
        self._withdrawn.clear()
        self._admit_in_order()
