"""Time is counted in integer picoseconds, so that n steps added one by one equal the closed form."""

import math
from collections.abc import Callable
from typing import cast

from simpy import Environment, Event, Timeout
from simpy.events import EventPriority

PS_PER_S = 10**12
PS_PER_MS = 10**9
PS_PER_US = 10**6


def ps(seconds: float) -> int:
    """Seconds as the nearest whole picosecond."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"a duration must be finite and not negative, got {seconds}")
    return round(seconds * PS_PER_S)


def seconds(picoseconds: int) -> float:
    """Picoseconds as seconds; subtract as integers first, then convert."""
    return picoseconds / PS_PER_S


class Clock(Environment):
    """SimPy's environment, counting whole picoseconds.

    Of what happens at one instant, decisions come last: whoever arrives or ends at that instant is taken into account.
    """

    _now: int
    _last = cast(EventPriority, 2)  # after SimPy's own urgent (0) and normal (1)

    @property
    def now(self) -> int:
        """The present instant in picoseconds."""
        return self._now

    def call_in(self, delay_ps: int, callback: Callable[[Event], None]) -> Event:
        """Have the callback called after a while; the event identifies the call."""
        event = Timeout(self, delay_ps)
        event.callbacks.append(callback)
        return event

    def call_last(self, callback: Callable[[Event], None]) -> None:
        """Have the callback called at this instant, after everything else of this instant."""
        event = Event(self)
        event._ok, event._value = True, None
        event.callbacks.append(callback)
        self.schedule(event, self._last)

    def is_last(self) -> bool:
        """Whether nothing else happens at this instant."""
        queue = self._queue
        return not queue or queue[0][0] > self._now
