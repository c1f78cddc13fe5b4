"""The memory for keys and values, as every cache policy offers it to a scheduler."""

from typing import NamedTuple, Protocol

from sim.request import Request


class Usage(NamedTuple):
    """Where the cells of a cache are: the parts of PagedAttention's memory figure. They sum to the capacity."""

    used: int  # cells holding a token
    reserved: int  # kept for tokens that the request may still produce
    internal: int  # owned by a request that will never fill them
    external: int  # lost between allocations
    free: int


class KVCache(Protocol):
    """Cells for keys and values.

    Queries change nothing. Verbs change the cache or, when they answer False, nothing at all.
    Members of the decode group gain one token a step without a call each: they `join`, the group's steps are
    told by `advance`, and they leave by `release` or `leave`.
    """

    capacity_tokens: int

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: own cells for `tokens` tokens of context in all."""
        ...

    def release(self, request: Request) -> None:
        """Verb: give up every cell of the request."""
        ...

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        ...

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its cells but gains no more tokens."""
        ...

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens."""
        ...

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps the joined requests can take with nothing else moving."""
        ...

    def usage(self) -> Usage:
        """Query: where the cells are."""
        ...

    def check(self) -> None:
        """Query: assert every invariant."""
        ...
