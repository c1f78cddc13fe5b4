"""What stands before the engine's own queue: permits, a model that must be loaded, a bounded channel before the load.

A request for what is loaded goes straight to the permits and waits there without bound. Any other goes to the
channel, whose one reader takes a request in hand, waits until nobody uses the loaded model, and loads what it needs.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from simpy import Event

from sim.clock import Clock, ps
from sim.engine import Door
from sim.request import End, Request

_NOTHING = object()
_BEFORE_ARRIVALS = 0  # who comes at the instant at which the model is loaded finds it loaded


class FrontDoor:
    """Lets requests through in order of arrival; an arrival that has to wait here never reaches the engine.

    `load_options` says what a request needs loaded (its context length, say); None means all need the same.
    """

    def __init__(
        self,
        env: Clock,
        door: Door,
        let_in: Callable[[Request], None],
        turn_away: Callable[[Request, End], None],
        load_options: Callable[[Request], Hashable] | None = None,
        reload_s: float = 0.0,
    ) -> None:
        self.env = env
        self.door = door
        self._let_in = let_in
        self._turn_away = turn_away
        self._load_options = load_options
        self._permits = door.permits
        self._load_ps = ps(door.load_s)
        self._reload_ps = ps(reload_s)
        self._inside = 0
        self._admitting = False
        self._queue: OrderedDict[Request, None] = OrderedDict()  # behind the permits
        self._in_hand: Request | None = None
        self._channel: deque[Request] = deque()  # a place is kept even if the client goes: the reader throws it out
        self._withdrawn: set[Request] = set()
        self._refused: set[Request] = set()
        self._loading = False
        self._ever_loaded = door.load_s == 0
        self._loaded: object = None if self._ever_loaded else _NOTHING
        self._takes_any = self._ever_loaded and load_options is not None  # loaded with the first comer's options

    @property
    def waiting(self) -> int:
        """Requests outside."""
        return len(self._queue) + (self._in_hand is not None) + len(self._channel) - len(self._withdrawn)

    # -- what happens at the door

    def arrive(self, request: Request) -> None:
        """A request knocks."""
        if self._takes_any:
            self._loaded, self._takes_any = self._needs(request), False
        if self._is_served(request):
            self._line_up(request)
        elif self._in_hand is None:
            self._take_in_hand(request)
        elif self.door.pending_limit is not None and len(self._channel) >= self.door.pending_limit:
            self._refuse(request)
        else:
            self._channel.append(request)

    def left(self, request: Request) -> None:
        """A request that was let in has ended; the next one may enter."""
        self._inside -= 1
        if self._queue:
            self._admit_in_order()
        elif self._in_hand is not None:
            self._load_if_idle()

    def withdraw(self, request: Request) -> bool:
        """The client goes away; True when it was still outside."""
        if request in self._queue:
            del self._queue[request]
            if not self._queue and self._in_hand is not None:
                self._load_if_idle()
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
        if not self._loading and (self._permits is None or self._inside < self._permits) and not self._queue:
            self._admit(request)
        else:
            self._queue[request] = None

    def _admit(self, request: Request) -> None:
        self._inside += 1
        request.entered_ps = self.env.now
        self._let_in(request)

    def _admit_in_order(self) -> None:
        """Fill the free permits; a request that the engine refuses at once frees its own while this runs."""
        if self._admitting or self._loading:
            return
        self._admitting = True
        while self._queue and (self._permits is None or self._inside < self._permits):
            self._admit(self._queue.popitem(last=False)[0])
        self._admitting = False

    # -- loading

    def _needs(self, request: Request) -> Hashable:
        return None if self._load_options is None else self._load_options(request)

    def _is_served(self, request: Request) -> bool:
        """Whether the request may stand behind the permits: what it needs is loaded, or being loaded around it."""
        if self._loading and not self.door.waits_inside:
            return False
        return self._loaded is not _NOTHING and (self._load_options is None or self._loaded == self._needs(request))

    def _take_in_hand(self, request: Request) -> None:
        self._in_hand = request
        self._load_if_idle()

    def _load_if_idle(self) -> None:
        """Load what the request in hand needs, once nobody holds what is loaded now."""
        if self._loading or self._inside or self._queue or self._in_hand is None:
            return
        self._loading = True
        self._loaded = self._needs(self._in_hand)
        load_ps = self._reload_ps if self._ever_loaded else self._load_ps
        self._ever_loaded = True
        self.env.call_in(load_ps, self._open, _BEFORE_ARRIVALS)

    def _open(self, _: Event) -> None:
        """The model is ready: the request in hand goes first, then the channel up to the next one to need a load."""
        self._loading = False
        behind = list(self._queue)
        self._queue.clear()
        self._stand_behind_permits(self._in_hand)
        self._in_hand = None
        while self._channel and self._in_hand is None:
            request = self._channel.popleft()
            if self._is_served(request):
                self._stand_behind_permits(request)
            elif request not in self._withdrawn:
                self._in_hand = request
            else:
                self._withdrawn.discard(request)
        self._queue.update(dict.fromkeys(behind))
        self._admit_in_order()
        self._load_if_idle()

    def _stand_behind_permits(self, request: Request | None) -> None:
        if request in self._withdrawn:
            self._withdrawn.discard(request)
        elif request is not None:
            self._queue[request] = None
