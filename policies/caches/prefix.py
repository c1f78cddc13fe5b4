"""vLLM's prefix cache: full blocks keep their content after their request has ended, oldest evicted first.

Only blocks that another prompt could begin with are kept one by one. What is unique to a request can be hit by that
request alone, when it comes back after a preemption: its blocks lie in the queue as one run. What a request of a
conversation writes can be hit from its end on: only then does the next question come.
"""

from collections import OrderedDict

from policies.caches.content import Contents
from policies.caches.paged import PagedCache
from sim.cache import Usage
from sim.request import Request


class SharedBlock:
    """A full block whose content other prompts may begin with too."""

    __slots__ = ("key", "users")

    def __init__(self, key: int) -> None:
        self.key = key
        self.users = 1


class Run:
    """Full blocks, unique to a request that has let go of them; the last one is evicted first."""

    __slots__ = ("count", "request")

    def __init__(self, request: Request, count: int) -> None:
        self.request = request
        self.count = count


class PrefixCache(PagedCache):
    """Free blocks without content are taken first, then the content released longest ago."""

    def __init__(self, num_blocks: int, block_size: int = 16) -> None:
        super().__init__(num_blocks, block_size)
        self._blank = self.free_blocks
        self._queue: OrderedDict[SharedBlock | Run, None] = OrderedDict()  # free blocks with content
        self._copies: dict[int, list[SharedBlock]] = {}  # blocks by content; the first copy is the one found
        self._shared: dict[Request, list[SharedBlock]] = {}  # leading blocks of a request, in order
        self._runs: dict[Request, Run] = {}
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
            if block.users == 0:
                del self._queue[block]
                self.free_blocks -= 1
            block.users += 1
        if own:
            run = self._runs.pop(request)
            del self._queue[run]
            self.free_blocks -= own
        held = self.blocks_for(tokens)
        self._take(held - len(shared) - own)
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
            copies = self._copies.get(key)
            if not copies:
                return shared, 0
            shared.append(copies[0])
        run = self._runs.get(request)  # it is evicted before the blocks in front of it
        return shared, run.count if run else 0

    def _register(self, request: Request, tokens: int) -> None:
        """Full blocks can be found as soon as they are scheduled, even in the same step."""
        shared = self._shared[request]
        full = min(tokens // self.block_size, self._contents.shareable_blocks(request))
        if full > len(shared):
            for key in self._contents.keys(request, full)[len(shared) :]:
                block = SharedBlock(key)
                shared.append(block)
                self._copies.setdefault(key, []).append(block)

    def _take(self, count: int) -> None:
        self.free_blocks -= count
        if count <= self._blank:
            self._blank -= count
            return
        count -= self._blank
        self._blank = 0
        while count:
            oldest = next(iter(self._queue))
            if isinstance(oldest, Run):
                evicted = min(oldest.count, count)
                oldest.count -= evicted
                count -= evicted
                if oldest.count == 0:
                    del self._queue[oldest]
                    if self._runs.get(oldest.request) is oldest:
                        del self._runs[oldest.request]
            else:
                del self._queue[oldest]
                self._forget(oldest)
                count -= 1

    def _forget(self, block: SharedBlock) -> None:
        copies = self._copies[block.key]
        copies.remove(block)
        if not copies:
            del self._copies[block.key]

    def _give_back(self, request: Request, held: int, tokens: int) -> None:
        """Last block first, so that of one request the beginning stays longest."""
        if request not in self._shared:
            return
        if request.own is not None:
            self._register(request, tokens)
        shared = self._shared.pop(request)
        full = tokens // self.block_size
        self._blank += held - full
        own = full - len(shared)
        if own:
            self._runs[request] = run = Run(request, own)
            self._queue[run] = None
        freed = held - len(shared)
        for block in reversed(shared):
            block.users -= 1
            if block.users == 0:
                self._queue[block] = None
                freed += 1
        self.free_blocks += freed

    def usage(self) -> Usage:
        """Query: a block that several requests use counts once."""
        usage = super().usage()
        users = {id(block): block.users for shared in self._shared.values() for block in shared}
        doubled = sum(count - 1 for count in users.values()) * self.block_size
        return usage._replace(used=usage.used - doubled, internal=usage.internal + doubled)

    def check(self) -> None:
        """Query: every free block is blank or in the queue once; every user is counted."""
        queued = sum(entry.count if isinstance(entry, Run) else 1 for entry in self._queue)
        assert self._blank + queued == self.free_blocks, (self._blank, queued, self.free_blocks)
        users: dict[SharedBlock, int] = {}
        for shared in self._shared.values():
            for block in shared:
                users[block] = users.get(block, 0) + 1
        for block, count in users.items():
            assert block.users == count
            assert block not in self._queue
            assert block in self._copies[block.key]
        held = sum(self.held_blocks(request) for request in self._shared)
        distinct = held - sum(users.values()) + len(users)
        assert distinct + self.free_blocks == self.num_blocks - 1
        assert all(entry.users == 0 for entry in self._queue if isinstance(entry, SharedBlock))
        assert self._shared.keys() == self._own_tokens.keys() | self._joined.keys()
