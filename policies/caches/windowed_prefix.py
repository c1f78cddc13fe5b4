"""vLLM's prefix cache over windowed and full groups of layers: every group remembers its own blocks' content."""

from policies.caches.group_content import GroupContent
from policies.caches.group_search import Found
from policies.caches.group_strides import sizes_from
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
        self._content = GroupContent(self.free_blocks, block_size, groups, dense)

    # -- a request on its own

    def cached_tokens(self, request: Request, known: int) -> int:
        """Query: the last token is always computed anew, so a wholly known prompt lacks a block."""
        return self._content.find(request, known).blocks * self.block_size

    def admits(self, request: Request, cached: int, reached: int, whole: int, spare: int) -> bool:
        """Query: blocks found that nobody uses now cost free blocks too."""
        found = cached // self.block_size
        free = self.free_blocks - spare - self._content.idle(request, self._windows.outgrown(cached), found)
        if self.groups.count * (self.blocks_for(reached) - found) > free:
            return False
        blocks = self.blocks_for(whole)
        limited = max(0, min(blocks, self.most_kept) - found)
        return self.groups.full * (blocks - found) + self.groups.windowed * limited <= free

    def admit(self, request: Request, cached: int, tokens: int) -> None:
        """Verb: take the blocks found, revive those nobody uses, and new ones for the rest."""
        found = Found(cached // self.block_size, self._content.find(request, request.known_tokens).in_full)
        outgrown = self._windows.outgrown(cached)
        self.free_blocks -= self._content.use(request, outgrown, found)
        self._take(self.groups.count * (self.blocks_for(tokens) - found.blocks))
        self._own_tokens[request] = tokens
        self._windows.begin(request, cached)
        self._content.name(request, tokens, outgrown)

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: as without content; blocks that become full may be found from now on."""
        if not super().grow(request, tokens):
            return False
        self._content.name(request, tokens, self._windows.passed(request))
        return True

    # -- requests in lockstep

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens; what is evicted depends on who comes first."""
        if any(self._windows.sliding) or self._windows.undisturbed(steps) < steps:
            for _ in range(steps):
                self._advance_one()
            return
        self._pay(self._needed(steps) - len(self._granted))
        self._count_steps(steps)

    def _advance_one(self) -> None:
        """A step in which windows may move: in order of admission where the order matters."""
        moving = self._windows.moving()
        taking = self._crossing[self._steps % self.block_size].keys() - self._granted
        if not moving or self.groups.count * len(taking) <= self._content.remembered.blank:
            self._pay(len(taking))
            taking = set()
        for request in sorted({*moving, *taking}, key=_by_order):
            if request in moving:
                self._give(request, self._windows.move(request))
            if request in taking:
                self._pay(1)
        self._count_steps(1)

    def _count_steps(self, steps: int) -> None:
        self._granted.clear()
        self._windows.advance(steps)
        self._steps += steps

    def _pay(self, crossings: int) -> None:
        needed = self.groups.count * crossings
        if needed > self.free_blocks:
            raise PolicyError(f"windowed prefix cache: {needed} blocks are needed, {self.free_blocks} are free")
        self._take(needed)

    def _surely_giving(self) -> list[int]:
        sliding = self._windows.sliding
        alone = [[request for request in bucket if not self._content.shares(request)] for bucket in sliding]
        return sizes_from(alone, self._steps)

    # -- the pool

    def _take(self, count: int) -> None:
        self.free_blocks -= count
        self._content.remembered.take(count)

    def _give(self, request: Request, passed: range) -> None:
        if passed:
            self.free_blocks += self._content.give(request, passed)

    def _give_back(self, request: Request, held: int, tokens: int) -> None:
        if request in self._content:
            passed = self._windows.passed(request)
            last = (held + self.groups.windowed * passed) // self.groups.count
            self.free_blocks += self._content.end(request, range(passed, last), tokens)

    def usage(self) -> Usage:
        """Query: a block that several requests use counts once."""
        usage, users = super().usage(), self._content.users()
        doubled = (users.total() - len(users)) * self.block_size // self.groups.count
        return usage._replace(used=usage.used - doubled, internal=usage.internal + doubled)

    def check(self) -> None:
        """Query: blocks are neither lost nor doubled, whoever uses them and wherever they are free."""
        self._check_windows()
        requests, users = self._own_tokens.keys() | self._joined.keys(), self._content.users()
        self._content.check(self.free_blocks, requests)
        held = sum(map(self.held_blocks, requests))
        assert held - users.total() + len(users) + self.free_blocks == self.num_blocks - 1
