"""Time is counted in integer picoseconds, so that n steps added one by one equal the closed form."""

from collections.abc import Callable
from heapq import heappush
from math import inf
from typing import cast

from simpy import Environment, Event
from simpy.events import EventPriority

PS_PER_S = 10**12
PS_PER_MS = 10**9
PS_PER_US = 10**6

_LAST = cast(EventPriority, 1 << 30)


def ps(seconds: float) -> int:
    """Seconds as the nearest whole picosecond."""
    if not 0 <= seconds < inf:
        raise ValueError(f"a duration must be finite and not negative, got {seconds}")
    return round(seconds * PS_PER_S)


def seconds(picoseconds: int) -> float:
    """Picoseconds as seconds; subtract as integers first, then convert."""
    return picoseconds / PS_PER_S


class Call(Event):
    """An event that calls one function when its time has come, and never fails."""

    _ok = True
    _value = None
    _defused = False

    def __init__(self, callback: Callable[[Event], None]) -> None:
        self.callbacks = [callback]


class Clock(Environment):
    """SimPy's environment, counting whole picoseconds.

    At one instant, arrivals come first, then the ends of steps by the number of their replica, then decisions:
    whoever arrives or ends at that instant is taken into account, whatever was planned first.
    """

    _now: int

    @property
    def now(self) -> int:
        """The present instant in picoseconds."""
        return self._now

    def call_in(self, delay_ps: int, callback: Callable[[Event], None], rank: int = 1) -> Event:
        """Have the callback called after a while; the event identifies the call."""
        event = Call(callback)
        heappush(self._queue, (self._now + delay_ps, rank, next(self._eid), event))  # type: ignore[misc]
        return event

    def call_last(self, callback: Callable[[Event], None]) -> None:
        """Have the callback called at this instant, after everything else of this instant."""
        self.schedule(Call(callback), _LAST)

    def is_last(self) -> bool:
        """Whether nothing else happens at this instant."""
        queue = self._queue
        return not queue or queue[0][0] > self._now

    def skip_to(self, time_ps: int) -> bool:
        """Be at that instant at once, if nothing happens until then; an event that would be the next is not needed."""
        queue = self._queue
        if queue and queue[0][0] <= time_ps:
            return False
        self._now = time_ps
        return True
