"""vLLM's prefix cache: full blocks keep their content after their request has ended, oldest evicted first.

Only blocks that another prompt could begin with are kept one by one. What is unique to a request can be hit by that
request alone, when it comes back after a preemption: its blocks lie in the queue as one run. What a request of a
conversation writes can be hit from its end on: only then does the next question come.
"""

from collections import Counter
from itertools import chain

from policies.caches.content import Contents
from policies.caches.paged import PagedCache
from policies.caches.remembered import Remembered, SharedBlock
from sim.cache import Usage
from sim.request import Request


class OwnRun:
    """The blocks that only the request itself can hit, counted."""

    __slots__ = ("count", "request")

    def __init__(self, request: Request, count: int) -> None:
        self.request = request
        self.count = count

    def drop(self, count: int) -> None:
        """Verb: forget the last `count` blocks."""
        self.count -= count


class PrefixCache(PagedCache):
    """Free blocks without content are taken first, then the content released longest ago."""

    def __init__(self, num_blocks: int, block_size: int = 16) -> None:
        super().__init__(num_blocks, block_size)
        self._remembered: Remembered[OwnRun] = Remembered(self.free_blocks, self._forget)
        self._shared: dict[Request, list[SharedBlock]] = {}  # leading blocks of a request, in order
        self._runs: dict[Request, OwnRun] = {}  # the last one of a request
        self._contents = Contents(block_size)

    def cached_tokens(self, request: Request, known: int) -> int:
        """Query: the last token is always computed anew, so a wholly known prompt lacks a block."""
        shared, own = self._found(request, known)
        return (len(shared) + own) * self.block_size

    def admits(self, request: Request, cached: int, reached: int, whole: int, spare: int) -> bool:
        """Query: blocks found that nobody uses now cost free blocks too."""
        if cached:
            shared, own = self._found(request, cached + 1)
            spare += own + sum([block.users == 0 for block in shared])
        return super().admits(request, cached, reached, whole, spare)

    def admit(self, request: Request, cached: int, tokens: int) -> None:
        """Verb: take the blocks found, revive those nobody uses, and new ones for the rest."""
        shared, own = self._found(request, cached + 1) if cached else ([], 0)
        for block in shared:
            self.free_blocks -= self._remembered.use(block)
        if own:
            self._remembered.pull(self._runs.pop(request))
            self.free_blocks -= own
        self._take(self.blocks_for(tokens) - len(shared) - own)
        self._own_tokens[request] = tokens
        self._shared[request] = shared
        self._register(request, tokens)

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: own blocks for `tokens` tokens; those that become full may be found from now on."""
        if not super().grow(request, tokens):
            return False
        self._register(request, tokens)
        return True

    def _found(self, request: Request, known: int) -> tuple[list[SharedBlock], int]:
        """The leading blocks that are here: shared ones, then the request's own from before a preemption."""
        limit = (known - 1) // self.block_size
        shareable = self._contents.shareable_blocks(request)
        shared: list[SharedBlock] = []
        for key in self._contents.keys(request, min(limit, shareable)):
            block = self._remembered.find(key)
            if block is None:
                return shared, 0
            shared.append(block)
        run = self._runs.get(request)  # it is evicted before the blocks in front of it
        return shared, run.count if run else 0

    def _register(self, request: Request, tokens: int) -> None:
        """Full blocks can be found as soon as they are scheduled, even in the same step."""
        shared = self._shared[request]
        full = min(tokens // self.block_size, self._contents.shareable_blocks(request))
        if full > len(shared):
            shared.extend(map(self._remembered.fill, self._contents.keys(request, full)[len(shared) :]))

    def _take(self, count: int) -> None:
        self.free_blocks -= count
        self._remembered.take(count)

    def _forget(self, run: OwnRun) -> None:
        if self._runs.get(run.request) is run:
            del self._runs[run.request]

    def _give_back(self, request: Request, held: int, tokens: int) -> None:
        """Last block first, so that of one request the beginning stays longest."""
        if request not in self._shared:
            return
        if request.own is not None:
            self._register(request, tokens)
        shared = self._shared.pop(request)
        full = tokens // self.block_size
        self._remembered.blank += held - full
        own = full - len(shared)
        if own:
            self._runs[request] = run = OwnRun(request, own)
            self._remembered.put(run)
        self.free_blocks += held - len(shared)
        for block in reversed(shared):
            self.free_blocks += self._remembered.let_go(block)

    def usage(self) -> Usage:
        """Query: a block that several requests use counts once."""
        usage, users = super().usage(), self._users()
        doubled = (users.total() - len(users)) * self.block_size
        return usage._replace(used=usage.used - doubled, internal=usage.internal + doubled)

    def _users(self) -> Counter[SharedBlock]:
        return Counter(chain.from_iterable(self._shared.values()))

    def check(self) -> None:
        """Query: blocks are neither lost nor doubled, whoever uses them and wherever they are free."""
        users = self._users()
        self._remembered.check(self.free_blocks, users)
        held = sum(self.held_blocks(request) for request in self._shared)
        assert held - users.total() + len(users) + self.free_blocks == self.num_blocks - 1
        assert self._shared.keys() == self._own_tokens.keys() | self._joined.keys()
