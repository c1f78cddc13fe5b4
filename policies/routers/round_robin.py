"""Each replica in turn."""

from sim.replica import View
from sim.request import Request


class RoundRobin:
    """Blind to load: the n-th request goes to replica n modulo their number."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: Request, views: list[View]) -> int:
        """The next replica in turn."""
        chosen = self._next % len(views)
        self._next += 1
        return chosen
