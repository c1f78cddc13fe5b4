"""vLLM's prefix cache over windowed and full groups of layers: every group remembers its own blocks' content.

A prompt's beginning is found as far as the full groups have all of it and the windowed ones have the window before its
end. Windowed groups need not remember more than what such an end needs, so since 0.29 they keep one window: before the
end of each prompt, and where full groups once found more than windowed ones. Earlier versions keep every full block.

As in the plain prefix cache, content unique to a request lies in the queue as runs of blocks.
"""

from collections import OrderedDict

from policies.caches.content import UNBOUNDED, Contents
from policies.caches.group_blocks import Found, Presence, Run, SharedBlock
from policies.caches.groups import Groups
from policies.caches.paged import _by_order
from policies.caches.windowed import WindowedCache
from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request


class WindowedPrefixCache(WindowedCache):
    """Free blocks without content are taken first, then the content released longest ago."""

    def __init__(
        self, num_blocks: int, block_size: int, groups: Groups, most_kept: int, pipelined: bool, dense: bool = False
    ) -> None:
        super().__init__(num_blocks, block_size, groups, most_kept, pipelined)
        self.dense = dense
        self._window_blocks = -(-(groups.window - 1) // block_size)
        self._windowed = range(groups.windowed)
        self._full = range(groups.windowed, groups.count)
        self._blank = self.free_blocks
        self._queue: OrderedDict[SharedBlock | Run, None] = OrderedDict()  # free blocks with content
        self._copies: dict[tuple[int, int], list[SharedBlock]] = {}  # the first copy is the one found
        self._runs: dict[Request, list[Run]] = {}
        self._revived: dict[
            Request, dict[tuple[int, int], int]
        ] = {}  # own blocks found, by group and number: their life
        self._shared: dict[Request, list[dict[int, SharedBlock]]] = {}  # of each group, by number
        self._named: dict[Request, int] = {}  # leading blocks that need no more naming
        self._kept: dict[Request, list[tuple[int, int]]] = {}  # numbers that windowed groups remember
        self._contents = Contents(block_size)

    # -- what is here

    def cached_tokens(self, request: Request, known: int) -> int:
        """Query: the last token is always computed anew, so a wholly known prompt lacks a block."""
        return self._find(request, known).blocks * self.block_size

    def _find(self, request: Request, known: int) -> Found:
        limit = (known - 1) // self.block_size
        names = self._contents.keys(request, min(limit, self._contents.shareable_blocks(request)))
        if request not in self._runs:
            limit = len(names)
        if not limit:
            return Found(0, 0)
        in_full = self._reach(request, names, limit) if self._full else limit
        here = self._holders(request, names, self._windowed)
        run = 0
        for number in reversed(range(in_full)):
            run = run + 1 if here(number) else 0
            if run and run >= self._window_blocks:
                return Found(number + run, in_full)
        return Found(run, in_full)

    def _reach(self, request: Request, names: list[int], limit: int) -> int:
        """Leading blocks that all full groups have."""
        here = self._holders(request, names, self._full)
        return next((number for number in range(limit) if not here(number)), limit)

    def _holders(self, request: Request, names: list[int], groups: range) -> Presence:
        own = [
            {number for run in self._runs.get(request, ()) if run.group == group for number in run.numbers}
            for group in groups
        ]
        return Presence(self._copies, names, groups, own)

    # -- a request on its own

    def admits(self, request: Request, cached: int, reached: int, whole: int, spare: int) -> bool:
        """Query: blocks found that nobody uses now cost free blocks too."""
        found = cached // self.block_size
        free = self.free_blocks - spare - (self._unused(request, found) if found else 0)
        if self.groups.count * (self.blocks_for(reached) - found) > free:
            return False
        blocks = self.blocks_for(whole)
        limited = max(0, min(blocks, self.most_kept) - found)
        return self.groups.full * (blocks - found) + self.groups.windowed * limited <= free

    def _unused(self, request: Request, found: int) -> int:
        names = self._names(request, found)
        first = self.outgrown(found * self.block_size)
        idle = 0
        for group in (*self._windowed, *self._full):
            numbers = range(first if group in self._windowed else 0, found)
            idle += len(range(max(numbers.start, len(names)), found))
            idle += sum(self._copies[group, names[number]][0].users == 0 for number in numbers if number < len(names))
        return idle

    def admit(self, request: Request, cached: int, tokens: int) -> None:
        """Verb: take the blocks found, revive those nobody uses, and new ones for the rest."""
        found = Found(cached // self.block_size, self._find(request, request.known_tokens).in_full)
        first = self.outgrown(cached)
        names = self._names(request, found.blocks)
        self._shared[request] = [{} for _ in range(self.groups.count)]
        for group in (*self._windowed, *self._full):
            for number in range(first if group in self._windowed else 0, found.blocks):
                self._use(request, group, number, names)
        self._take(self.groups.count * (self.blocks_for(tokens) - found.blocks))
        self._own_tokens[request] = tokens
        self._given[request] = first
        self._given_total += first
        self._scheduled[request] = (self._steps - 1, cached)
        self._kept[request] = self._keeps(request, first, found)
        self._named[request] = len(names)
        self._name(request, tokens, first)

    def _use(self, request: Request, group: int, number: int, names: list[int]) -> None:
        """One block found: a shared one, or the request's own from before a preemption, the oldest copy."""
        if number >= len(names):
            self._revive(request, group, number)
            self.free_blocks -= 1
            return
        block = self._copies[group, names[number]][0]
        if block.users == 0:
            del self._queue[block]
            self.free_blocks -= 1
        block.users += 1
        self._shared[request][group][number] = block

    def _revive(self, request: Request, group: int, number: int) -> None:
        copies = [run for run in self._runs[request] if run.group == group and number in run.numbers]
        life, run = min(((run.lives[run.numbers.index(number)], run) for run in copies), key=_by_life)
        at = run.numbers.index(number)
        del run.numbers[at], run.lives[at]
        if not run.numbers:
            del self._queue[run]
            self._forget_run(run)
        self._revived.setdefault(request, {})[group, number] = life

    def _keeps(self, request: Request, first: int, found: Found) -> list[tuple[int, int]]:
        """Numbers of the blocks that windowed groups remember of a request, from and before, in order."""
        if self.dense:
            return [(0, UNBOUNDED)]
        ends = [(request.prompt_tokens - 1) // self.block_size]
        if self._full and found.in_full > found.blocks:
            ends.append(found.in_full)
        kept: list[tuple[int, int]] = []
        for start, end in sorted([(first, found.blocks), *((max(0, end - self._window_blocks), end) for end in ends)]):
            if kept and start <= kept[-1][1]:
                kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
            elif start < end:
                kept.append((start, end))
        return kept

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: as without content; blocks that become full may be found from now on."""
        if not super().grow(request, tokens):
            return False
        self._name(request, tokens, self._given[request])
        return True

    def _names(self, request: Request, count: int) -> list[int]:
        """Names of those of the first blocks that hold nothing unique to the request."""
        return self._contents.keys(request, min(count, self._contents.shareable_blocks(request)))

    def _name(self, request: Request, tokens: int, given: int) -> None:
        """Full blocks can be found as soon as they are scheduled, even in the same step."""
        start = self._named[request]
        names = self._names(request, tokens // self.block_size)
        if len(names) <= start:
            return
        kept = self._remembered(request, max(start, given), len(names))
        for group, shared in enumerate(self._shared[request]):
            for number in kept if group in self._windowed else range(start, len(names)):
                shared[number] = block = SharedBlock((group, names[number]))
                self._copies.setdefault(block.place, []).append(block)
        self._named[request] = len(names)

    def _remembered(self, request: Request, start: int, end: int) -> list[int]:
        """Numbers of the blocks from `start` to before `end` that windowed groups remember."""
        ranges = [range(max(start, first), min(end, last)) for first, last in self._kept[request]]
        return [number for numbers in ranges for number in numbers]

    # -- requests in lockstep

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens; what is evicted depends on who comes first."""
        if any(self._sliding) or (self._first_slides and self._first_slides[0][0] < self._steps + steps):
            for _ in range(steps):
                self._advance_one()
            return
        self._pay(self._needed(steps) - len(self._granted))
        self._granted.clear()
        self._steps += steps

    def _surely_giving(self) -> list[int]:
        if not self._copies:
            return super()._surely_giving()
        shared = self._shared
        return self._turned([{r: None for r in bucket if not shared[r][0]} for bucket in self._sliding])

    def _pay(self, crossings: int) -> None:
        needed = self.groups.count * crossings
        if needed > self.free_blocks:
            raise PolicyError(f"windowed prefix cache: {needed} blocks are needed, {self.free_blocks} are free")
        self._take(needed)

    def _advance_one(self) -> None:
        """A step in which windows may slide: in order of admission where the order matters."""
        step, phase = self._steps, self._steps % self.block_size
        due = list(self._due(step + 1))
        if not due and not self._sliding[phase]:
            self._pay(len(self._crossing[phase]) - len(self._granted))
            self._granted.clear()
            self._steps += 1
            return
        giving = {**self._sliding[phase], **{request: None for request, _ in due}}
        taking = self._crossing[phase].keys() - self._granted
        if self.groups.count * len(taking) <= self._blank:
            self._pay(len(taking))
            taking = set()
        for request in sorted({*giving, *taking}, key=_by_order):
            if request in giving and request not in self._slid:
                self._slide_in_step(request)
            if request in taking:
                self._pay(1)
        self._granted.clear()
        self._slid.clear()
        for request, _ in due:
            self._takes_turns(request, step)
        self._steps += 1

    # -- the pool

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
                evicted = min(len(oldest.numbers), count)
                del oldest.numbers[-evicted:], oldest.lives[-evicted:]
                count -= evicted
                if not oldest.numbers:
                    del self._queue[oldest]
                    self._forget_run(oldest)
            else:
                del self._queue[oldest]
                self._forget(oldest)
                count -= 1

    def _forget(self, block: SharedBlock) -> None:
        copies = self._copies[block.place]
        copies.remove(block)
        if not copies:
            del self._copies[block.place]

    def _forget_run(self, run: Run) -> None:
        runs = self._runs[run.request]
        runs.remove(run)
        if not runs:
            del self._runs[run.request]

    def _give(self, request: Request, first: int, last: int) -> None:
        if self.dense and request.own is not None:
            self._name(request, last * self.block_size, first)
        self._put_back(request, self._windowed, first, last, self._remembered(request, first, last))

    def _put_back(self, request: Request, groups: range, first: int, last: int, remembered: list[int]) -> None:
        """Blocks from number `first` to before `last`, last one first; what groups do not remember is blank."""
        if not remembered:
            self._blank += len(groups) * (last - first)
            self.free_blocks += len(groups) * (last - first)
            return
        named = self._named[request]
        own = [number for number in remembered if number >= named] if named else remembered
        for group in groups:
            freed = last - first
            if own:
                self._put_run(request, group, own.copy())
            if named:
                freed -= self._let_go(self._shared[request][group], first, last)
            self._blank += last - first - len(remembered)
            self.free_blocks += freed

    def _put_run(self, request: Request, group: int, numbers: list[int]) -> None:
        lives = [request.order] * len(numbers)
        if revived := self._revived.get(request):
            lives = [revived.get((group, number), request.order) for number in numbers]
        run = Run(request, group, numbers, lives)
        self._runs.setdefault(request, []).append(run)
        self._queue[run] = None

    def _let_go(self, shared: dict[int, SharedBlock], first: int, last: int) -> int:
        """One user fewer of a group's shared blocks with these numbers; how many others still use."""
        used = 0
        for number in sorted((number for number in shared if first <= number < last), reverse=True):
            block = shared.pop(number)
            block.users -= 1
            if block.users == 0:
                self._queue[block] = None
            else:
                used += 1
        return used

    def _give_back(self, request: Request, held: int, tokens: int) -> None:
        """Group by group, last block first, so that of one request the beginning stays longest."""
        if request not in self._shared:
            return
        if request.own is not None:
            self._name(request, tokens, self._given[request])
        given, full = self._given[request], tokens // self.block_size
        last = (held + self.groups.windowed * given) // self.groups.count
        self._put_back(request, self._windowed, given, last, self._remembered(request, given, full))
        self._put_back(request, self._full, 0, last, list(range(full)))
        del self._shared[request], self._named[request], self._kept[request]
        self._revived.pop(request, None)

    def usage(self) -> Usage:
        """Query: a block that several requests use counts once."""
        usage = super().usage()
        users = {
            id(block): block.users for groups in self._shared.values() for held in groups for block in held.values()
        }
        doubled = sum(count - 1 for count in users.values()) * self.block_size // self.groups.count
        return usage._replace(used=usage.used - doubled, internal=usage.internal + doubled)

    def check(self) -> None:
        """Query: every free block is blank or in the queue once; every user is counted."""
        self._check_windows()
        queued = sum(len(entry.numbers) if isinstance(entry, Run) else 1 for entry in self._queue)
        assert self._blank + queued == self.free_blocks, (self._blank, queued, self.free_blocks)
        users: dict[SharedBlock, int] = {}
        for groups in self._shared.values():
            for group, held in enumerate(groups):
                for block in held.values():
                    assert block.place[0] == group
                    users[block] = users.get(block, 0) + 1
        for block, count in users.items():
            assert block.users == count
            assert block not in self._queue
            assert block in self._copies[block.place]
        held_blocks = sum(self.held_blocks(request) for request in self._shared)
        assert held_blocks - sum(users.values()) + len(users) + self.free_blocks == self.num_blocks - 1
        assert all(entry.users == 0 for entry in self._queue if isinstance(entry, SharedBlock))
        assert {run for runs in self._runs.values() for run in runs} == {e for e in self._queue if isinstance(e, Run)}
        assert self._shared.keys() == self._own_tokens.keys() | self._joined.keys() == self._named.keys()


def _by_life(copy: tuple[int, Run]) -> int:
    return copy[0]
