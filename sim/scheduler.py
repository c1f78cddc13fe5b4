"""How an engine decides what runs next. A policy talks to the cache; it touches neither clock nor randomness."""

from abc import ABC, abstractmethod

from sim.batch import Batch
from sim.cache import KVCache
from sim.decoding import Decoding
from sim.request import Request


class Scheduler(ABC):
    """One policy. Its dataclass fields are its options; `bind` gives it a cache and fresh queues."""

    clairvoyant = False  # reads the true output length; reports say so
    pipelined = False  # decides step k+1 before the results of step k are known

    cache: KVCache
    decoding: Decoding

    def bind(self, cache: KVCache) -> None:
        """Take possession of a cache and start with empty queues."""
        self.cache = cache
        self.decoding = Decoding()

    @abstractmethod
    def submit(self, request: Request) -> None:
        """A request enters the engine's queue."""

    @abstractmethod
    def schedule(self) -> Batch | None:
        """Decide one step and take its memory; None when there is nothing to run."""

    @abstractmethod
    def finish(self, request: Request) -> None:
        """A running request has its last token: give back what it holds."""

    @abstractmethod
    def abort(self, request: Request) -> None:
        """A request goes away, wherever it is."""

    @abstractmethod
    def notices(self, request: Request) -> bool:
        """Whether the arrival just submitted could change the next decision."""

    @property
    @abstractmethod
    def waiting_count(self) -> int:
        """Requests in the engine's own queue."""

    @property
    @abstractmethod
    def running_count(self) -> int:
        """Requests that hold a place in the batch."""

    def refuses(self, request: Request) -> bool:
        """Whether the request can never be served and is answered with an error at once."""
        return False

    def output_bound(self, request: Request) -> int:
        """The most tokens that the client's limit and the context let the request produce."""
        return request.limit

    def repeat(self, steps: int) -> None:
        """The last decision was taken `steps` more times, word for word."""
        self.cache.advance(steps)
        self.decoding.advance(steps)
