"""vLLM's paged cache for models with sliding windows: groups of layers, each with blocks of its own for a request.

All groups draw blocks of one size from one pool. Full groups keep what they took; windowed groups give a block back
once all of it lies before the window of the next token. That happens when the request is scheduled again, and counts
only tokens whose results are known: with asynchronous scheduling a step later.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

from policies.caches.groups import Groups
from policies.caches.paged import PagedCache, _by_order
from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request


class WindowedCache(PagedCache):
    """Counts blocks. Takes in lockstep are kept by step modulo the block size, and so are the slides of windows;

    a request whose window has not begun to slide waits for that in a heap, by step.
    """

    gives_back = True

    def __init__(self, num_blocks: int, block_size: int, groups: Groups, most_kept: int, pipelined: bool) -> None:
        super().__init__(num_blocks, block_size)
        self.groups = groups
        self.most_kept = most_kept
        self.pipelined = pipelined
        self.capacity_tokens = (num_blocks - 1) * block_size // groups.count  # while windows hold everything
        self._given: dict[Request, int] = {}  # leading blocks each windowed group gave back; stale while sliding
        self._given_total = 0
        self._scheduled: dict[Request, tuple[int, int]] = {}  # step of the last chunk, tokens computed before it
        self._sliding: list[dict[Request, None]] = [{} for _ in range(block_size)]
        self._slid: set[Request] = set()  # of those, who slid ahead of `advance`
        self._first_slides: list[tuple[int, int, Request]] = []  # heap: step, ticket
        self._awaited: dict[Request, tuple[int, int]] = {}  # step and ticket that are valid
        self._tickets = 0

    # -- a request on its own

    def outgrown(self, tokens: int) -> int:
        """Query: blocks wholly before the window of the token that follows `tokens` others."""
        return max(0, tokens - self.groups.window + 1) // self.block_size

    def held_blocks(self, request: Request) -> int:
        """Query: blocks the request owns in all groups."""
        base = self._joined.get(request)
        tokens = self._own_tokens.get(request, 0) if base is None else base + self._steps
        held = self.groups.count * (self.blocks_for(tokens) + (request in self._granted))
        return held - self.groups.windowed * self._given_of(request)

    def admits(self, request: Request, cached: int, reached: int, whole: int, spare: int) -> bool:
        """Query: room for `whole` tokens in all, as far as windowed groups ever hold them, and for `spare` blocks."""
        return self.groups.blocks(self.block_size, whole, self.most_kept) + spare <= self.free_blocks

    def admit(self, request: Request, cached: int, tokens: int) -> None:
        """Verb: take blocks for `tokens` tokens."""
        self._take(self.groups.count * self.blocks_for(tokens))
        self._own_tokens[request] = tokens
        self._given[request] = 0
        self._scheduled[request] = (self._steps - 1, cached)  # the step under way has been counted already

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: give back what the window has passed, then own blocks for `tokens` tokens if enough are free."""
        computed = self._own_tokens[request]
        step, before = self._scheduled[request]
        self._slide(request, before if self.pipelined and step == self._steps - 1 else computed)
        more = self.groups.count * (self.blocks_for(tokens) - self.blocks_for(computed))
        if more > self.free_blocks:
            return False
        if more > 0:
            self._take(more)
        self._own_tokens[request] = tokens
        self._scheduled[request] = (self._steps, computed)
        return True

    def release(self, request: Request, unsettled: int = 0) -> None:
        """Verb: give up every block; the content of the last `unsettled` tokens is not known yet."""
        held = self.held_blocks(request)
        self._granted.discard(request)
        if request in self._joined:
            self.leave(request)
        tokens = self._own_tokens.pop(request, 0)
        self._given_total -= self._given.get(request, 0)
        self._give_back(request, held, tokens - unsettled)
        self._given.pop(request, None)
        self._scheduled.pop(request, None)

    # -- requests in lockstep

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        super().join(request, tokens)
        self._await_slide(request, self._steps)

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its blocks but gains no more tokens."""
        self._given[request] = self._given_of(request)
        if self._awaited.pop(request, None) is None:
            del self._sliding[self._slide_phase(request)][request]
            self._slid.discard(request)
        super().leave(request)

    def crossing(self) -> list[Request]:
        """Query: the joined requests that take or give blocks in the next step, in order of admission."""
        phase = self._steps % self.block_size
        due = (request for request, (step, _) in self._awaited.items() if step <= self._steps)
        return sorted({**self._crossing[phase], **self._sliding[phase], **dict.fromkeys(due)}, key=_by_order)

    def crosses(self, request: Request) -> bool:
        """Query: whether a joined request takes or gives blocks in the next step."""
        phase = self._steps % self.block_size
        if request in self._crossing[phase] or request in self._sliding[phase]:
            return True
        return request in self._awaited and self._awaited[request][0] <= self._steps

    @property
    def short(self) -> bool:
        """Query: whether the next step takes more blocks than are free before it gives any back."""
        return self.groups.count * len(self._crossing[self._steps % self.block_size]) > self.free_blocks

    def grant(self, request: Request) -> bool:
        """Verb: the next step's part of one request, ahead of `advance`: its window slides, then it takes blocks."""
        phase = self._steps % self.block_size
        if request in self._awaited:
            self._slide_in_step(request)
        elif request in self._sliding[phase] and request not in self._slid:
            self._slide_in_step(request)
            self._slid.add(request)
        if request in self._crossing[phase]:
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
        given = self._slides(steps)
        if needed > self.free_blocks + given:
            raise PolicyError(
                f"windowed cache: {steps} steps need {needed} blocks, {self.free_blocks} and {given} are free"
            )
        self.free_blocks += given - needed
        self._granted.clear()
        self._steps += steps

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps are sure to find their blocks free, whoever comes first."""
        size, takes, gives = self.block_size, self.groups.count, self.groups.windowed
        if (limit // size + 1) * takes * len(self._joined) <= self.free_blocks:
            return limit
        crossing = self._turned(self._crossing)
        sliding = self._surely_giving()
        spent = most = 0  # over one round; first slides may add to what is free
        for taking, giving in zip(crossing, sliding, strict=True):
            most = max(most, spent + takes * taking)
            spent += takes * taking - gives * giving
        left = self.free_blocks
        if left < most or not spent:
            rounds = 0 if left < most else limit // size
        else:
            rounds = min((left - most) // spent + 1, limit // size)
        left -= rounds * spent
        steps = rounds * size
        while steps < limit and takes * crossing[steps % size] <= left:
            left += gives * sliding[steps % size] - takes * crossing[steps % size]
            steps += 1
        return steps

    def steps_without_more_room(self, limit: int) -> int:
        """Query: how many of the next `limit` steps leave no more blocks free than there are now."""
        if self._first_slides:
            limit = max(0, min(limit, self._first_slides[0][0] - self._steps))
        spent = 0  # over a whole round no less than nothing
        for steps, (taking, giving) in enumerate(
            zip(self._turned(self._crossing), self._turned(self._sliding), strict=True)
        ):
            spent += self.groups.count * taking - self.groups.windowed * giving
            if spent < 0:
                return min(limit, steps)
        return limit

    # -- windows that slide

    def _settled(self, request: Request, step: int) -> int:
        """Tokens of a joined request whose results are known when a step is decided."""
        if not self.pipelined:
            return self._joined[request] + step
        scheduled, before = self._scheduled[request]
        return before if scheduled == step - 1 else self._joined[request] + step - 1

    def _given_of(self, request: Request) -> int:
        """Leading blocks that each windowed group has given back."""
        if request in self._joined and request not in self._awaited:
            return self.outgrown(self._settled(request, self._steps - (request not in self._slid)))
        return self._given.get(request, 0)

    def _slide(self, request: Request, settled: int) -> None:
        """Give back what lies before the window."""
        first, last = self._given[request], self.outgrown(settled)
        if last > first:
            self._given[request] = last
            self._given_total += last - first
            self._give(request, first, last)

    def _slide_in_step(self, request: Request) -> None:
        """The slide of a joined request in the step that comes next."""
        if request not in self._awaited:
            self._given[request] = self._given_of(request)
        self._slide(request, self._settled(request, self._steps))

    def _slides(self, steps: int) -> int:
        """Blocks that come free in turn over the next `steps` steps; those out of turn are given at once."""
        given = self._count(self._sliding, steps) - len(self._slid)
        self._slid.clear()
        end = self._steps + steps
        for request, step in self._due(end):
            self._slide(request, self._settled(request, step))
            if self._takes_turns(request, step):
                given += self._given_in_turn(request, step, end)
        self._given_total += given
        return self.groups.windowed * given

    def _due(self, end: int) -> Iterator[tuple[Request, int]]:
        """Requests whose next slide is out of turn and before the step `end`, and its step."""
        while self._first_slides and self._first_slides[0][0] < end:
            step, ticket, request = heappop(self._first_slides)
            if self._awaited.get(request) == (step, ticket):
                yield request, step

    def _takes_turns(self, request: Request, step: int) -> bool:
        """After a slide out of turn: whether the window follows token by token from now on."""
        if self.pipelined and self._scheduled[request][0] == step - 1:
            self._await_slide(request, step + 1)
            return False
        del self._awaited[request]
        self._sliding[self._slide_phase(request)][request] = None
        return True

    def _given_in_turn(self, request: Request, step: int, end: int) -> int:
        """Blocks of one group that a sliding request gives back in the steps after `step` and before `end`."""
        return self.outgrown(self._settled(request, end - 1)) - self.outgrown(self._settled(request, step))

    def _await_slide(self, request: Request, earliest: int) -> None:
        """Plan the next slide: on the step that the next block is outgrown on, or later."""
        outgrown = self.groups.window - 1 + (self._given[request] + 1) * self.block_size
        step = max(earliest, outgrown + self.pipelined - self._joined[request])
        self._tickets += 1
        self._awaited[request] = (step, self._tickets)
        heappush(self._first_slides, (step, self._tickets, request))

    def _slide_phase(self, request: Request) -> int:
        """The steps, modulo the block size, on which a sliding window leaves a block behind."""
        return (self.groups.window - 1 + self.pipelined - self._joined[request]) % self.block_size

    def _turned(self, buckets: list[dict[Request, None]]) -> list[int]:
        """Sizes of the buckets from the next step's on."""
        start = self._steps % self.block_size
        sizes = list(map(len, buckets))
        return sizes[start:] + sizes[:start]

    def _surely_giving(self) -> list[int]:
        """Sizes of the sliding buckets from the next step's on, of those whose blocks nobody else uses."""
        return self._turned(self._sliding)

    def _count(self, buckets: list[dict[Request, None]], steps: int) -> int:
        """Members whose turn comes in the next `steps` steps, once for each turn."""
        rounds, rest = divmod(steps, self.block_size)
        sizes = self._turned(buckets)
        return rounds * sum(sizes) + sum(sizes[:rest])

    # -- the pool; a cache that remembers content overrides this

    def _give(self, request: Request, first: int, last: int) -> None:
        """Blocks from number `first` to before `last` of every windowed group come free."""
        self.free_blocks += self.groups.windowed * (last - first)

    def usage(self) -> Usage:
        """Query: in tokens over all layers; blocks are partly empty at the end and partly outgrown at the window."""
        tokens = self._bases + self._steps * len(self._joined) + sum(self._own_tokens.values())
        cells = self.groups.count * tokens - self.groups.windowed * self._given_total * self.block_size
        used, free = cells // self.groups.count, self.free_blocks * self.block_size // self.groups.count
        return Usage(used, 0, self.capacity_tokens - free - used, 0, free)

    def check(self) -> None:
        """Query: the paged cache's invariants, and every joined request awaits its window's next move once."""
        super().check()
        self._check_windows()

    def _check_windows(self) -> None:
        everyone = (*self._own_tokens, *self._joined)
        assert sum(map(self._given_of, everyone)) == self._given_total
        assert sum(map(len, self._sliding)) + len(self._awaited) == len(self._joined)
        assert all(
            self._given_of(request) <= self.blocks_for(self._own_tokens[request]) for request in self._own_tokens
        )
        assert self._given.keys() == self._scheduled.keys() == set(everyone)
        assert self._slid <= self._joined.keys()
        for phase, bucket in enumerate(self._sliding):
            assert all(self._slide_phase(request) == phase for request in bucket)
