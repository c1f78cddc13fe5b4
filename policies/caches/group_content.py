"""What the blocks of groups of layers contain, in use and free: what a prompt finds of it, what stays of a request.

A prompt's beginning is found as far as the full groups have all of it and the windowed ones have the window before its
end. Windowed groups need not remember more than what such an end needs, so since 0.29 they keep one window: before the
end of each prompt, and where full groups once found more than windowed ones. Earlier versions keep every full block.
"""

from collections import Counter
from collections.abc import Iterator, Set

from policies.caches.content import UNBOUNDED, Contents
from policies.caches.group_blocks import Holding, merged
from policies.caches.group_runs import GroupRun, GroupRuns
from policies.caches.group_search import Found, Presence
from policies.caches.groups import Groups
from policies.caches.remembered import Remembered, SharedBlock
from sim.request import Request


class GroupContent:
    """Verbs tell how many blocks they take from the free ones or make free."""

    def __init__(self, blank: int, block_size: int, groups: Groups, dense: bool) -> None:
        self.block_size = block_size
        self.groups = groups
        self.dense = dense
        self._window_blocks = -(-(groups.window - 1) // block_size)
        self._windowed = range(groups.windowed)
        self._full = range(groups.windowed, groups.count)
        self._contents = Contents(block_size)
        self._runs = GroupRuns()
        self.remembered: Remembered[GroupRun] = Remembered(blank, self._runs.forget)
        self._holdings: dict[Request, Holding] = {}

    def __contains__(self, request: Request) -> bool:
        return request in self._holdings

    # -- what is here

    def find(self, request: Request, known: int) -> Found:
        """Query: the last token is always computed anew, so a wholly known prompt lacks a block."""
        limit = (known - 1) // self.block_size
        names = self._names(request, limit)
        if request not in self._runs:
            limit = len(names)
        if not limit:
            return Found(0, 0)
        in_full = self._presence(request, names, self._full).leading(limit) if self._full else limit
        windowed = self._presence(request, names, self._windowed)
        return Found(windowed.up_to_window(in_full, self._window_blocks), in_full)

    def _presence(self, request: Request, names: list[int], groups: range) -> Presence:
        return Presence(self.remembered, names, groups, [self._runs.numbers(request, group) for group in groups])

    def _names(self, request: Request, count: int) -> list[int]:
        """Names of those of the first blocks that hold nothing unique to the request."""
        return self._contents.keys(request, min(count, self._contents.shareable_blocks(request)))

    def idle(self, request: Request, outgrown: int, found: int) -> int:
        """Query: how many of the blocks found nobody uses now."""
        blocks = [block for _, _, block in self._blocks(request, outgrown, found)]
        return sum([block is None or block.users == 0 for block in blocks])

    def _blocks(self, request: Request, outgrown: int, found: int) -> Iterator[tuple[int, int, SharedBlock | None]]:
        """Group, number and block of what a request goes on from; no block where it is the request's own."""
        names = self._names(request, found)
        for group in (*self._windowed, *self._full):
            for number in range(outgrown if group in self._windowed else 0, found):
                shared = number < len(names)
                yield group, number, self.remembered.find((group, names[number])) if shared else None

    # -- in use

    def use(self, request: Request, outgrown: int, found: Found) -> int:
        """Verb: a newcomer goes on from the blocks found; how many of them were free."""
        named = len(self._names(request, found.blocks))
        kept = self._kept(request, outgrown, found)
        holding = self._holdings[request] = Holding([{} for _ in range(self.groups.count)], named, kept)
        taken = 0
        for group, number, block in self._blocks(request, outgrown, found.blocks):
            if block is None:
                holding.revived[group, number] = self._revive(request, group, number)
                taken += 1
            else:
                holding.shared[group][number] = block
                taken += self.remembered.use(block)
        return taken

    def _kept(self, request: Request, outgrown: int, found: Found) -> list[range]:
        """Numbers of the blocks that windowed groups remember of a request."""
        if self.dense:
            return [range(UNBOUNDED)]
        ends = [(request.prompt_tokens - 1) // self.block_size]
        if self._full and found.in_full > found.blocks:
            ends.append(found.in_full)
        windows = [range(max(0, end - self._window_blocks), end) for end in ends]
        return merged([range(outgrown, found.blocks), *windows])

    def _revive(self, request: Request, group: int, number: int) -> int:
        """A block of the request's own from before a preemption is in use again; its life."""
        run = self._runs.oldest(request, group, number)
        life = run.lives.pop(number)
        if not run.lives:
            self.remembered.pull(run)
            self._runs.forget(run)
        return life

    def name(self, request: Request, tokens: int, outgrown: int) -> None:
        """Verb: full blocks can be found as soon as they are scheduled, even in the same step."""
        holding = self._holdings[request]
        start, names = holding.named, self._names(request, tokens // self.block_size)
        if len(names) <= start:
            return
        kept = holding.kept_among(range(max(start, outgrown), len(names)))
        for group, shared in enumerate(holding.shared):
            for number in kept if group in self._windowed else range(start, len(names)):
                shared[number] = self.remembered.fill((group, names[number]))
        holding.named = len(names)

    def shares(self, request: Request) -> bool:
        """Query: whether others may use blocks of windowed groups that the request uses."""
        return bool(self._holdings[request].shared[0])

    def users(self) -> Counter[SharedBlock]:
        """Query: of each block in use that others may use too, how many do."""
        holdings = self._holdings.values()
        return Counter(block for holding in holdings for shared in holding.shared for block in shared.values())

    # -- free

    def give(self, request: Request, passed: range) -> int:
        """Verb: windowed groups give back what the window has passed; how many blocks come free."""
        if self.dense and request.own is not None:
            self.name(request, passed.stop * self.block_size, passed.start)
        return self._put_back(request, self._windowed, passed, self._holdings[request].kept_among(passed))

    def end(self, request: Request, numbers: range, tokens: int) -> int:
        """Verb: the request has no blocks any more, in windowed groups those with the numbers; how many come free.

        Group by group, last block first, so that of one request the beginning stays longest.
        """
        if request.own is not None:
            self.name(request, tokens, numbers.start)
        full = tokens // self.block_size
        kept = self._holdings[request].kept_among(range(numbers.start, full))
        free = self._put_back(request, self._windowed, numbers, kept)
        free += self._put_back(request, self._full, range(numbers.stop), list(range(full)))
        del self._holdings[request]
        return free

    def _put_back(self, request: Request, groups: range, numbers: range, remembered: list[int]) -> int:
        """Blocks of some groups come free, unless others use them; what is not remembered is blank."""
        self.remembered.blank += len(groups) * (len(numbers) - len(remembered))
        free = len(groups) * len(numbers)
        if not remembered:
            return free
        holding = self._holdings[request]
        named = range(numbers.start, min(numbers.stop, holding.named))
        own = [number for number in remembered if number >= holding.named] if named else remembered
        for group in groups:
            if own:
                run = GroupRun(request, group, holding.lives(group, own, request.order))
                self._runs.add(run)
                self.remembered.put(run)
            if named:
                free -= self._let_go(holding.shared[group], named)
        return free

    def _let_go(self, shared: dict[int, SharedBlock], numbers: range) -> int:
        """One user fewer of a group's shared blocks with these numbers; how many others still use."""
        blocks = [shared.pop(number) for number in reversed(numbers) if number in shared]
        return len(blocks) - sum(map(self.remembered.let_go, blocks))

    def check(self, free_blocks: int, requests: Set[Request]) -> None:
        """Query: what is remembered is in use or free, and shared blocks belong to the group that uses them."""
        assert self._holdings.keys() == requests
        self.remembered.check(free_blocks, self.users())
        assert self._runs.everything() == self.remembered.runs()
        for holding in self._holdings.values():
            for group, shared in enumerate(holding.shared):
                assert all(isinstance(block.key, tuple) and block.key[0] == group for block in shared.values())
