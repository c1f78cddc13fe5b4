"""The clients of a recording, once more: the same users, lengths, budget and order, on any simulated server."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.clock import ps
from sim.request import Request
from sim.workload import Port
from tests.recordings import RecordedLevel, Recording, prompt_length

WARM_UP_PROMPTS = (16, 64, 256, 16)  # before the first level, not recorded; equal lengths are equal prompts
PAUSE_S = 0.01  # between two levels the client only reads the server's counters


@dataclass(frozen=True, slots=True)
class Ways:
    """How long messages are on their way, in s. Of several times seen, chance picks one for each request."""

    to_server_s: tuple[float, ...]
    front_s: tuple[float, ...]  # the front end's own time for a request; it takes them one at a time
    to_client_s: float
    stream_end_s: float  # from the last token to the end of the stream


@dataclass(frozen=True)
class RecordedClients:
    """All levels of a recording in their order on one server, which keeps from one to the next what it has."""

    recording: Recording
    ways: Ways
    joins_in_steps: bool  # the first round is pinned to the steps that took it, or else to its sending

    warmup: int = len(WARM_UP_PROMPTS)
    cooldown: int = 0

    @property
    def requests(self) -> int:
        """How many in all."""
        return self.warmup + sum(self.recording.total_requests(level.users) for level in self.recording.levels)

    def source(self, port: Port) -> "Users":
        """The clients at work."""
        return Users(self, port)


def ids_by_level(recording: Recording) -> Iterator[tuple[RecordedLevel, range]]:
    """The ids that the requests of each level have, in order of sending."""
    first = len(WARM_UP_PROMPTS)
    for level in recording.levels:
        after = first + recording.total_requests(level.users)
        yield level, range(first, after)
        first = after


class Users:
    """The running clients."""

    def __init__(self, load: RecordedClients, port: Port) -> None:
        self._load = load
        self._env = port.env
        self._send = port.send
        self._chance: np.random.Generator = port.streams["arrivals"]
        self._warm_up = iter(WARM_UP_PROMPTS)
        self._levels = iter(load.recording.levels)
        self._next_id = 0
        self._left = 0
        self._in_flight = 0
        self._sent_by: dict[int, int] = {}
        self._front_free_ps = 0

    def start(self) -> None:
        """The warm-up comes first."""
        self._ask_alone()

    def ended(self, request: Request) -> None:
        """The answer, or the error, travels to its user."""
        ways = self._load.ways
        self._env.call_in(ps(ways.to_client_s + ways.stream_end_s), lambda _: self._answered(request.user))

    def _answered(self, user: int) -> None:
        self._in_flight -= 1
        if user < 0:
            self._ask_alone()
        elif self._left:
            self._travel(self._request(user, self._env.now))
        elif not self._in_flight:
            self._env.call_in(ps(PAUSE_S), lambda _: self._begin_level())

    def _ask_alone(self) -> None:
        prompt = next(self._warm_up, None)
        if prompt is None:
            self._begin_level()
        else:
            self._in_flight += 1
            self._travel(self._new(prompt, self._env.now, -1, ((f"warm-up of {prompt}", prompt),)))

    # -- a level

    def _begin_level(self) -> None:
        level = next(self._levels, None)
        if level is None:
            return
        self._left = self._load.recording.total_requests(level.users)
        self._sent_by = dict.fromkeys(range(level.users), 0)
        sent_s = {request.uid: request.t_send for request in level.requests if request.k == 0}
        begun_s = min(request.t_headers for request in level.requests if request.t_headers is not None)
        together = set(level.first_batch())
        for rank, user in enumerate(level.first_round()):
            request = self._request(user, self._env.now + ps(sent_s[user]))
            if self._load.joins_in_steps:  # whoever is not in the first step comes while it runs
                self._arrive_in(request, ps(begun_s) + (0 if user in together else rank))
            else:
                self._travel(request, ps(sent_s[user]))

    def _request(self, user: int, now_ps: int) -> Request:
        self._left -= 1
        self._in_flight += 1
        turn = self._sent_by[user]
        self._sent_by[user] = turn + 1
        recording = self._load.recording
        return self._new(prompt_length(user, turn, recording.prompt_min, recording.prompt_max), now_ps, user)

    def _new(self, prompt: int, now_ps: int, user: int, content: tuple[tuple[str, int], ...] = ()) -> Request:
        number = self._next_id
        self._next_id = number + 1
        output = self._load.recording.output_tokens
        return Request(number, prompt, output, arrival_ps=now_ps, user=user, prefix=content)

    # -- the way into the server

    def _travel(self, request: Request, delay_ps: int = 0) -> None:
        """Sent after the delay, some time on the line, then through the front end."""
        self._env.call_in(delay_ps + self._one_of(self._load.ways.to_server_s), lambda _: self._pass_front(request))

    def _pass_front(self, request: Request) -> None:
        now = self._env.now
        self._front_free_ps = max(now, self._front_free_ps) + self._one_of(self._load.ways.front_s)
        self._arrive_in(request, self._front_free_ps - now)

    def _arrive_in(self, request: Request, delay_ps: int) -> None:
        self._env.call_in(delay_ps, lambda _: self._send(request))

    def _one_of(self, times_s: tuple[float, ...]) -> int:
        return ps(times_s[self._chance.integers(len(times_s))])
