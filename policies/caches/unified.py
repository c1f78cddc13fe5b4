"""llama.cpp's unified cache: one pool of cells for all slots, nothing reserved, over-commitment allowed.

A new token takes the lowest free cell. What a row reads ends at the highest used cell, rounded up to 256, so it is
enough to know for every page of 256 cells how many of them each lane has: exact, and no cell is visited by itself.
"""

from policies.caches.slots import SPAN_STEP, Ranges, SlotCache, padded
from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request


class Filling:
    """Cells taken in one go by some lanes in turn: a cell for the first lane, one for the second, and round again."""

    __slots__ = ("lanes", "parts", "total")

    def __init__(self, lanes: int, total: int, parts: list[tuple[int, int, int]]) -> None:
        self.lanes = lanes
        self.total = total  # cells
        self.parts = parts  # page, cells taken there, place of the lane that had the first of them

    def cells_of(self, place: int) -> int:
        """Cells of the lane at a place."""
        return (self.total - place - 1) // self.lanes + 1

    def shares(self, place: int) -> list[tuple[int, int]]:
        """Pages and cells of the lane at a place, oldest first."""
        lanes = self.lanes
        if lanes == 1:
            return [(page, cells) for page, cells, _ in self.parts]
        last = lanes - 1 - place
        return [(page, (cells + (last + turn) % lanes) // lanes) for page, cells, turn in self.parts]


Held = tuple[Filling, int]  # and a lane's place in it


class UnifiedCache(SlotCache):
    """Every row reads everyone's cells. Idle lanes keep theirs until they are cleared."""

    def __init__(self, slots: int, n_ctx: int, lane_tokens: int | None = None) -> None:
        super().__init__(slots, n_ctx if lane_tokens is None else lane_tokens)
        self.capacity_tokens = n_ctx
        self.span = 0  # cells that a row reads
        self._used = 0
        self._pages = [0] * (padded(n_ctx) // SPAN_STEP)  # used cells of each
        self._lowest = 0  # no page before this one has a free cell
        self._held: list[list[Held]] = [[] for _ in range(slots)]  # of each lane, oldest first
        self._unplaced = 0  # steps of the joined whose cells are counted but not yet given a page

    @property
    def free_cells(self) -> int:
        """Query: cells that hold nothing; what idle lanes keep is not among them until they are cleared."""
        return self.capacity_tokens - self._used

    def span_of(self, longest: int, more: int) -> int:
        """Query: cells that a row reads once `more` tokens are in use: free cells below the highest go first."""
        return max(self.span, padded(self._used + more))

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: own cells for `tokens` tokens of context in all."""
        lane = self._lane_of[request]
        more = tokens - lane.tokens
        if tokens > self.lane_tokens or more > self.free_cells:
            return False
        self._extend(lane.slot, more)
        return True

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        self._place_steps()
        super().join(request, tokens)

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its cells but gains no more tokens."""
        self._place_steps()
        super().leave(request)

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens."""
        cells = steps * len(self._joined)
        if cells > self.capacity_tokens - self._used:
            raise PolicyError(f"unified cache: {steps} steps need {cells} cells, {self.free_cells} are free")
        self._use(cells)
        self._unplaced += steps
        self._steps += steps

    def spans(self, ranges: Ranges, more: int = 0) -> list[int]:
        """Query: cells that every row reads at present, whichever its pass."""
        return [self.span] * len(ranges)

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps find free cells without a longer span."""
        joined = len(self._joined)
        return min(limit, (self.span - self._used) // joined) if joined else limit

    # -- cells by page

    def _extend(self, slot: int, tokens: int) -> None:
        self._place_steps()
        self._use(tokens)
        self._lanes[slot].tokens += tokens
        self._fill([slot], tokens)

    def _use(self, cells: int) -> None:
        self._used += cells
        if self._used > self.span:
            self.span = padded(self._used)

    def _truncate(self, slot: int, tokens: int) -> None:
        self._place_steps()
        lane = self._lanes[slot]
        if tokens == lane.tokens:
            return
        self._used -= lane.tokens - tokens
        lane.tokens = tokens
        self._give_back(slot, self._keep_first(slot, tokens) if tokens else [])
        while self.span and not self._pages[self.span // SPAN_STEP - 1]:
            self.span -= SPAN_STEP

    def _keep_first(self, slot: int, tokens: int) -> list[Held]:
        """What a lane holds once only its first tokens are left."""
        kept: list[Held] = []
        for filling, place in self._held[slot]:
            cells = filling.cells_of(place)
            if cells > tokens:
                parts: list[tuple[int, int, int]] = []
                for page, count in filling.shares(place):
                    parts.append((page, min(count, tokens), 0))
                    tokens -= parts[-1][1]
                kept.append((Filling(1, sum([count for _, count, _ in parts]), parts), 0))
                break
            kept.append((filling, place))
            tokens -= cells
        return kept

    def _give_back(self, slot: int, kept: list[Held]) -> None:
        """Free all cells of a lane but those kept."""
        pages, lowest = self._pages, self._lowest
        for filling, place in self._held[slot]:
            lanes = filling.lanes
            last = lanes - 1 - place
            for page, cells, turn in filling.parts:
                pages[page] -= (cells + (last + turn) % lanes) // lanes
            lowest = min(lowest, filling.parts[0][0])
        for filling, place in kept:
            for page, cells in filling.shares(place):
                pages[page] += cells
        self._lowest = lowest
        self._held[slot] = kept

    def _place_steps(self) -> None:
        """Give the joined slots' latest tokens their pages: a step takes one cell for each slot, in slot order."""
        steps, self._unplaced = self._unplaced, 0
        if steps and self._joined:
            self._fill(sorted(self._joined), steps * len(self._joined))

    def _fill(self, slots: list[int], cells: int) -> None:
        """Take the lowest free cells for the slots in turn."""
        if not cells:
            return
        pages, page, turn, count = self._pages, self._lowest, 0, len(slots)
        parts: list[tuple[int, int, int]] = []
        total = cells
        while True:
            free = SPAN_STEP - pages[page]
            if free >= cells:
                break
            if free:
                pages[page] = SPAN_STEP
                parts.append((page, free, turn))
                cells -= free
                turn = (turn + free) % count
            page += 1
        pages[page] += cells
        parts.append((page, cells, turn))
        self._lowest = page
        filling = Filling(count, total, parts)
        for place, slot in enumerate(slots):
            self._held[slot].append((filling, place))

    # -- looking at it

    def usage(self) -> Usage:
        """Query: nothing is set aside; what idle lanes keep goes when somebody needs it."""
        used = sum(self.context(slot) for slot, lane in enumerate(self._lanes) if lane.request is not None)
        return Usage(used, 0, 0, 0, self.capacity_tokens - used)

    def check(self) -> None:
        """Query: cells are neither lost nor doubled, and the span ends with the highest used page."""
        super().check()
        assert self._used == sum(self.context(slot) for slot in range(self.slots))
        assert self._used <= self.capacity_tokens
        self._place_steps()
        by_page = [0] * len(self._pages)
        for slot, held in enumerate(self._held):
            assert sum(filling.cells_of(place) for filling, place in held) == self.context(slot)
            for filling, place in held:
                for page, cells in filling.shares(place):
                    by_page[page] += cells
        assert by_page == self._pages
        assert all(0 <= cells <= SPAN_STEP for cells in self._pages)
        assert all(cells == SPAN_STEP for cells in self._pages[: self._lowest])
        assert self.span == max((SPAN_STEP * (page + 1) for page, cells in enumerate(by_page) if cells), default=0)
