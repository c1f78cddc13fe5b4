"""Closed loop: users who each wait for an answer, think, and send the next request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sim.request import Request
from sim.workload import Port
from workloads.lengths import Lengths, stream
from workloads.think import FixedThink, Think


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`users` streams of requests; with no think time each has one request in flight at any time."""

    users: int
    requests: int
    prompt: Lengths
    output: Lengths
    think: Think = field(default_factory=lambda: FixedThink(0.0))
    warmup: int = 0
    cooldown: int = 0
    limit: int | None = None  # the client's max_tokens; None asks for just the output length

    def source(self, port: Port) -> "Users":
        """Users at their keyboards."""
        return Users(self, port)


class Users:
    """The running closed loop. The n-th request sent has the n-th lengths drawn, whoever sends it."""

    def __init__(self, load: ClosedLoop, port: Port) -> None:
        self._env = port.env
        self._send = port.send
        self._load = load
        self._left = load.requests
        self._next_id = 0
        self._prompt: Callable[[], int] = stream(load.prompt, port.streams["prompts"]).__next__
        self._output: Callable[[], int] = stream(load.output, port.streams["outputs"]).__next__
        self._limit = load.limit
        self._pauses = load.think.mean_s > 0
        self._think: Callable[[], int] = load.think.stream(port.streams["think"]).__next__

    def start(self) -> None:
        """Without think time all users send at once; with it each begins with a pause."""
        for user in range(self._load.users):
            if self._pauses:
                self._pause(user)
            else:
                self._ask(user)

    def ended(self, request: Request) -> None:
        """The answer is read."""
        if self._pauses:
            self._pause(request.user)
        else:
            self._ask(request.user)

    def _pause(self, user: int) -> None:
        self._env.call_in(self._think(), lambda _: self._ask(user))

    def _ask(self, user: int) -> None:
        if self._left > 0:
            self._left -= 1
            number = self._next_id
            self._next_id = number + 1
            self._send(Request(number, self._prompt(), self._output(), self._limit, self._env._now, user))
