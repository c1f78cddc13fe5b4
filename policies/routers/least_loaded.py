"""The replica with the fewest requests in it."""

from sim.replica import View
from sim.request import Request


class LeastLoaded:
    """Counts waiting and running requests; the lowest number wins a tie."""

    def choose(self, request: Request, views: list[View]) -> int:
        """The replica with the fewest requests."""
        loads = [view.waiting + view.running for view in views]
        return loads.index(min(loads))
