"""Which of several replicas gets a request."""

from collections.abc import Callable
from typing import Protocol

from sim.replica import View
from sim.request import Request


class Router(Protocol):
    """Chooses by what it may see of the replicas."""

    def choose(self, request: Request, views: list[View]) -> int:
        """The replica's number."""
        ...


RouterMaker = Callable[[], Router]
