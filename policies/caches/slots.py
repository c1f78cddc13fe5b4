"""llama.cpp's separate streams, the naive cache: every slot owns one contiguous lane, full or empty.

A lane keeps its tokens when its request ends, so that a later prompt with the same beginning can go on from there.
"""

from collections.abc import Hashable, Sequence

from policies.caches.content import UNBOUNDED
from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request

SPAN_STEP = 256  # a row reads its lane up to the next multiple of this

Content = tuple[tuple[Hashable, int], ...]
Ranges = Sequence[tuple[int, int]]  # joined slots that share a pass: from one number up to another


def padded(cells: int) -> int:
    """Cells rounded up to the span that the attention kernel reads."""
    return -(-cells // SPAN_STEP) * SPAN_STEP


def split_context(n_ctx: int, slots: int) -> int:
    """What each slot gets of a context divided among slots; together that can be more than was asked for."""
    return padded(n_ctx // slots)


def content_of(request: Request) -> Content:
    """What other prompts may share with this one's prompt and output; nothing for a request that is unique."""
    if request.own is not None:
        return (*request.prefix, (request.own, UNBOUNDED))
    return request.prefix


def common_tokens(first: Content, second: Content) -> int:
    """Leading tokens that two contents have in common."""
    common = 0
    for (key, tokens), (other, others) in zip(first, second, strict=False):
        if key != other:
            break
        common += min(tokens, others)
        if tokens != others:
            break
    return common


class Lane:
    """One slot's cells: what they hold and for whom."""

    __slots__ = ("content", "joined", "longest", "request", "slot", "tokens")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.content: Content = ()
        self.tokens = 0  # less the cache's step count while joined
        self.request: Request | None = None
        self.longest = 0  # tokens that the request may come to
        self.joined = False


class SlotCache:
    """Lanes of equal length, taken at start-up. What a request does not use of its lane nobody can."""

    def __init__(self, slots: int, lane_tokens: int) -> None:
        self.slots = slots
        self.lane_tokens = lane_tokens  # the longest context of one request
        self.capacity_tokens = slots * lane_tokens
        self._lanes = [Lane(slot) for slot in range(slots)]
        self._lane_of: dict[Request, Lane] = {}
        self._joined: set[int] = set()
        self._steps = 0
        self._heights = [-UNBOUNDED] * slots  # tokens of the joined lanes, less the step count
        self._highest = -UNBOUNDED  # of them
        self._changes_at = -1  # step count after which the spans last asked for are longer, unless others join

    # -- lanes

    def context(self, slot: int) -> int:
        """Query: tokens that the slot's lane holds."""
        lane = self._lanes[slot]
        return lane.tokens + self._steps if lane.joined else lane.tokens

    def content(self, slot: int) -> Content:
        """Query: what of the lane's tokens other prompts may begin with too."""
        return self._lanes[slot].content

    def kept(self, slot: int, content: Content) -> int:
        """Query: leading tokens of the content that an idle slot's lane holds already."""
        lane = self._lanes[slot]
        return min(common_tokens(lane.content, content), lane.tokens)

    def place(self, request: Request, slot: int, kept: int) -> None:
        """Verb: the slot is the request's; of what the lane holds the first `kept` tokens stay."""
        lane = self._lanes[slot]
        self._truncate(slot, kept)
        lane.request = request
        longest = request.prompt_tokens + request.limit - 1
        lane.longest = longest if longest < self.lane_tokens else self.lane_tokens
        lane.content = request.prefix if request.own is None else content_of(request)
        self._lane_of[request] = lane

    def clear(self, slot: int) -> None:
        """Verb: an idle slot forgets what it kept."""
        self._truncate(slot, 0)
        self._lanes[slot].content = ()

    def shorten(self, slot: int, tokens: int) -> None:
        """Verb: the slot's request goes on with `tokens` of its context, which no longer begin like any prompt."""
        lane = self._lanes[slot]
        request, joined = lane.request, lane.joined
        if joined and request is not None:
            self.leave(request)
        self._truncate(slot, tokens)
        lane.content = ()
        if joined and request is not None:
            self.join(request, tokens)

    def restore(self, slot: int, content: Content, tokens: int) -> bool:
        """Verb: an idle slot gets tokens saved elsewhere in place of its own; without room it is left empty."""
        self.clear(slot)
        if tokens > self.lane_tokens or tokens > self.free_cells:
            return False
        self._extend(slot, tokens)
        self._lanes[slot].content = content
        return True

    @property
    def free_cells(self) -> int:
        """Query: cells that any lane could take beyond its own; separate lanes never lack them."""
        return self.capacity_tokens

    # -- a request on its own

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: own cells for `tokens` tokens of context in all."""
        if tokens > self.lane_tokens:
            return False
        self._lane_of[request].tokens = tokens
        return True

    def release(self, request: Request) -> None:
        """Verb: the lane is idle and keeps its tokens until the slot is used again."""
        lane = self._lane_of.get(request)
        if lane is None:
            return
        if lane.joined:
            self.leave(request)
        del self._lane_of[request]
        lane.request = None

    # -- requests in lockstep

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        lane = self._lane_of[request]
        slot = lane.slot
        lane.tokens = self._heights[slot] = height = tokens - self._steps
        lane.joined = True
        self._joined.add(slot)
        if height > self._highest:
            self._highest = height
        self._changes_at = -1

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its cells but gains no more tokens."""
        lane = self._lane_of[request]
        slot = lane.slot
        lane.tokens += self._steps
        lane.joined = False
        self._joined.remove(slot)
        height, self._heights[slot] = self._heights[slot], -UNBOUNDED
        if height == self._highest:
            self._highest = max(self._heights)
        self._changes_at = -1

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens."""
        self._steps += steps
        if self._highest + self._steps > self.lane_tokens:
            raise PolicyError(f"slot cache: {steps} steps take a slot beyond its {self.lane_tokens} tokens")

    def spans(self, ranges: Ranges, more: int = 0) -> list[int]:
        """Query: cells that rows read, padding included, with `more` tokens in each lane: the longest lane's."""
        heights, steps = self._heights, self._steps + more
        spans: list[int] = []
        same = UNBOUNDED
        for first, stop in ranges:
            longest = max(heights[first:stop]) + steps
            spare = -longest % SPAN_STEP
            spans.append(longest + spare)
            if spare < same:
                same = spare
        self._changes_at = steps + same
        return spans

    def common_span(self) -> int:
        """Query: the same, of rows of all joined slots in one pass."""
        longest = self._highest + self._steps
        spare = -longest % SPAN_STEP
        self._changes_at = self._steps + spare
        return longest + spare

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps leave the spans last asked for, else every slot's, as they are."""
        if self._changes_at < self._steps:
            self.spans([(slot, slot + 1) for slot in self._joined])
        left = self._changes_at - self._steps
        if left < limit:
            return left
        return limit

    def steps_until_full(self) -> int:
        """Query: steps that every joined lane has cells for."""
        return self.lane_tokens - self._highest - self._steps if self._joined else self.lane_tokens

    # -- the cells; a shared pool overrides these

    def _extend(self, slot: int, tokens: int) -> None:
        self._lanes[slot].tokens += tokens

    def _truncate(self, slot: int, tokens: int) -> None:
        self._lanes[slot].tokens = tokens

    # -- looking at it

    def usage(self) -> Usage:
        """Query: a busy lane is lost to others; what idle lanes keep is theirs to overwrite."""
        used = promised = 0
        for lane in self._lane_of.values():
            tokens = lane.tokens + self._steps if lane.joined else lane.tokens
            longest = lane.longest
            used += tokens
            promised += longest if longest > tokens else tokens
        busy = len(self._lane_of) * self.lane_tokens
        return Usage(used, promised - used, busy - promised, 0, self.capacity_tokens - busy)

    def check(self) -> None:
        """Query: no lane is too long, and slots, requests and lockstep agree."""
        for slot, lane in enumerate(self._lanes):
            assert 0 <= self.context(slot) <= self.lane_tokens
            assert lane.joined == (slot in self._joined)
            assert self._heights[slot] == (lane.tokens if lane.joined else -UNBOUNDED)
            if lane.request is None:
                assert not lane.joined
            else:
                assert self._lane_of[lane.request] is lane
        assert self._highest == max(self._heights)
        assert len(self._lane_of) == sum(lane.request is not None for lane in self._lanes)
        assert sum(self.usage()) == self.capacity_tokens
        assert min(self.usage()) >= 0
