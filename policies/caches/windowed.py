"""vLLM's paged cache for models with sliding windows: groups of layers, each with blocks of its own for a request.

All groups draw blocks of one size from one pool. Full groups keep what they took; windowed groups give a block back
once all of it lies before the window of the next token.
"""

from policies.caches.group_strides import level_steps, sizes_from, sure_steps
from policies.caches.group_windows import Windows
from policies.caches.groups import Groups
from policies.caches.paged import PagedCache, _by_order
from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request


class WindowedCache(PagedCache):
    """Counts the blocks that groups take and those that windows have passed."""

    gives_back = True

    def __init__(self, num_blocks: int, block_size: int, groups: Groups, most_kept: int, pipelined: bool) -> None:
        super().__init__(num_blocks, block_size)
        self.groups = groups
        self.most_kept = most_kept
        self.pipelined = pipelined
        self.capacity_tokens = (num_blocks - 1) * block_size // groups.count  # while windows hold everything
        self._windows = Windows(groups.window, block_size, pipelined)

    # -- a request on its own

    def held_blocks(self, request: Request) -> int:
        """Query: blocks the request owns in all groups."""
        base = self._joined.get(request)
        tokens = self._own_tokens.get(request, 0) if base is None else base + self._steps
        held = self.groups.count * (self.blocks_for(tokens) + (request in self._granted))
        return held - self.groups.windowed * self._windows.passed(request)

    def admits(self, request: Request, cached: int, reached: int, whole: int, spare: int) -> bool:
        """Query: room for `whole` tokens in all, as far as windowed groups ever hold them, and for `spare` blocks."""
        return self.groups.blocks(self.block_size, whole, self.most_kept) + spare <= self.free_blocks

    def admit(self, request: Request, cached: int, tokens: int) -> None:
        """Verb: take blocks for `tokens` tokens."""
        self._take(self.groups.count * self.blocks_for(tokens))
        self._own_tokens[request] = tokens
        self._windows.begin(request, cached)

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: give back what the window has passed, then own blocks for `tokens` tokens if enough are free."""
        computed = self._own_tokens[request]
        self._give(request, self._windows.follow(request, computed))
        more = self.groups.count * (self.blocks_for(tokens) - self.blocks_for(computed))
        if more > self.free_blocks:
            return False
        if more > 0:
            self._take(more)
        self._own_tokens[request] = tokens
        self._windows.schedule(request, computed)
        return True

    def release(self, request: Request, unsettled: int = 0) -> None:
        """Verb: give up every block; the content of the last `unsettled` tokens is not known yet."""
        held = self.held_blocks(request)
        self._granted.discard(request)
        if request in self._joined:
            self.leave(request)
        tokens = self._own_tokens.pop(request, 0)
        self._give_back(request, held, tokens - unsettled)
        self._windows.end(request)

    # -- requests in lockstep

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        super().join(request, tokens)
        self._windows.join(request, tokens)

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its blocks but gains no more tokens."""
        super().leave(request)
        self._windows.leave(request)

    def crossing(self) -> list[Request]:
        """Query: the joined requests that take or give blocks in the next step, in order of admission."""
        return sorted({**self._crossing[self._steps % self.block_size], **self._windows.moving()}, key=_by_order)

    def crosses(self, request: Request) -> bool:
        """Query: whether a joined request takes or gives blocks in the next step."""
        return super().crosses(request) or self._windows.moves(request)

    @property
    def short(self) -> bool:
        """Query: whether the next step takes more blocks than are free before it gives any back."""
        return self.groups.count * len(self._crossing[self._steps % self.block_size]) > self.free_blocks

    def grant(self, request: Request) -> bool:
        """Verb: the next step's part of one request, ahead of `advance`: its window moves, then it takes blocks."""
        self._give(request, self._windows.move(request))
        if super().crosses(request):
            if self.free_blocks < self.groups.count:
                return False
            self._take(self.groups.count)
            self._granted.add(request)
        return True

    def step(self) -> bool:
        """Verb: one step for the joined requests, if it finds its blocks free whoever comes first."""
        if self.short:
            return False
        self.advance(1)
        return True

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens."""
        needed = self.groups.count * (self._needed(steps) - len(self._granted))
        free = self.free_blocks + self.groups.windowed * self._windows.advance(steps)
        if needed > free:
            raise PolicyError(f"windowed cache: {steps} steps need {needed} blocks, {free} are or come free")
        self.free_blocks = free - needed
        self._granted.clear()
        self._steps += steps

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps are sure to find their blocks free, whoever comes first."""
        if (limit // self.block_size + 1) * self.groups.count * len(self._joined) <= self.free_blocks:
            return limit
        given = [self.groups.windowed * giving for giving in self._surely_giving()]
        return sure_steps(self.free_blocks, self._taken(), given, limit)  # first slides may add to what is free

    def steps_without_more_room(self, limit: int) -> int:
        """Query: how many of the next `limit` steps leave no more blocks free than there are now."""
        given = [self.groups.windowed * giving for giving in sizes_from(self._windows.sliding, self._steps)]
        return level_steps(self._taken(), given, self._windows.undisturbed(limit))

    def _taken(self) -> list[int]:
        """Blocks that each step of a round takes, from the next one on."""
        return [self.groups.count * crossing for crossing in sizes_from(self._crossing, self._steps)]

    def _surely_giving(self) -> list[int]:
        """How many requests give blocks that nobody else uses in each step of a round, from the next one on."""
        return sizes_from(self._windows.sliding, self._steps)

    # -- the pool; a cache that remembers content overrides this

    def _give(self, request: Request, passed: range) -> None:
        """Blocks with these numbers come free in every windowed group."""
        self.free_blocks += self.groups.windowed * len(passed)

    def usage(self) -> Usage:
        """Query: in tokens over all layers; blocks are partly empty at the end and partly outgrown at the window."""
        tokens = self._bases + self._steps * len(self._joined) + sum(self._own_tokens.values())
        cells = self.groups.count * tokens - self.groups.windowed * self._windows.passed_total * self.block_size
        used, free = cells // self.groups.count, self.free_blocks * self.block_size // self.groups.count
        return Usage(used, 0, self.capacity_tokens - free - used, 0, free)

    def check(self) -> None:
        """Query: the paged cache's invariants and the windows' own; no window has passed what is not there yet."""
        super().check()
        self._check_windows()

    def _check_windows(self) -> None:
        self._windows.check(self._own_tokens.keys() | self._joined.keys(), self._joined)
        for request, tokens in self._own_tokens.items():
            assert self._windows.passed(request) <= self.blocks_for(tokens)
