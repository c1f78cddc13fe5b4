"""How an engine decides what runs next. A policy talks to the cache; it touches neither clock nor randomness."""

from abc import ABC, abstractmethod
from collections import deque
from typing import Self

from sim.batch import Batch
from sim.cache import KVCache
from sim.cost import FOREVER
from sim.decoding import Decoding
from sim.request import Request


class Scheduler(ABC):
    """One policy. Its dataclass fields are its options; `bind` gives it a cache and fresh queues."""

    clairvoyant = False  # reads the true output length; reports say so
    pipelined = False  # decides step k+1 before the results of step k are known

    cache: KVCache
    decoding: Decoding
    waiting: deque[Request]
    context_limit = FOREVER  # tokens that prompt and output of one request may have together

    def __copy__(self) -> Self:
        """A twin made attribute by attribute: Python finds those faster than a dictionary copied whole."""
        twin = object.__new__(type(self))
        for name, value in vars(self).items():
            setattr(twin, name, value)
        return twin

    def bind(self, cache: KVCache) -> None:
        """Take possession of a cache and start with empty queues."""
        self.cache = cache
        self.decoding = Decoding()
        self.waiting = deque()

    # -- who may come in

    @property
    def cuts_prompts(self) -> bool:
        """Whether a prompt beyond the context is shortened and not refused."""
        return False

    def refuses(self, request: Request) -> bool:
        """A prompt that leaves no room for a token is answered with an error at once."""
        return request.prompt_tokens >= self.context_limit

    def output_bound(self, request: Request) -> int:
        """The client's limit, or what the context leaves behind the prompt."""
        room = self.context_limit - request.prompt_tokens
        return room if room < request.limit else request.limit

    def submit(self, request: Request) -> None:
        """Join the end of the queue."""
        self.waiting.append(request)

    @abstractmethod
    def notices(self, request: Request) -> bool:
        """Whether the arrival just submitted could change the next decision."""

    # -- one step

    @abstractmethod
    def schedule(self) -> Batch | None:
        """Decide one step and take its memory; None when there is nothing to run."""

    def repeat(self, steps: int) -> None:
        """The last decision was taken `steps` more times, word for word."""
        self.cache.advance(steps)
        self.decoding.advance(steps)

    # -- how a request goes away

    @abstractmethod
    def finish(self, request: Request) -> None:
        """A running request has its last token: give back what it holds."""

    def abort(self, request: Request) -> None:
        """The client has gone, from the queue or from the batch."""
        if request in self.waiting:
            self.waiting.remove(request)
        else:
            self.finish(request)

    @property
    def waiting_count(self) -> int:
        """Requests in the engine's own queue."""
        return len(self.waiting)

    @property
    @abstractmethod
    def running_count(self) -> int:
        """Requests that hold a place in the batch."""
