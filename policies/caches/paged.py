"""vLLM's paged KV cache: fixed blocks, taken when a token is computed, given back when a request ends."""

from sim.cache import Usage
from sim.errors import PolicyError
from sim.request import Request


class PagedCache:
    """Counts blocks. A joined request needs its next block on the steps where its context crosses a block boundary,

    so requests are kept by the step, modulo the block size, on which that happens.
    """

    gives_back = False  # whether a request that goes on may hold fewer blocks than before

    def __init__(self, num_blocks: int, block_size: int = 16) -> None:
        self.block_size = block_size
        self.num_blocks = num_blocks
        self.capacity_tokens = (num_blocks - 1) * block_size  # one block is the null block
        self.free_blocks = num_blocks - 1
        self._joined: dict[Request, int] = {}  # context minus the step count of requests in lockstep
        self._crossing: list[dict[Request, None]] = [{} for _ in range(block_size)]
        self._granted: set[Request] = set()  # got this step's block ahead of `advance`
        self._steps = 0
        self._bases = 0  # sum over joined requests
        self._own_tokens: dict[Request, int] = {}  # of requests that stand on their own

    # -- a request on its own

    def blocks_for(self, tokens: int) -> int:
        """Query: blocks that hold `tokens` tokens."""
        return -(-tokens // self.block_size)

    def held_blocks(self, request: Request) -> int:
        """Query: blocks the request owns."""
        base = self._joined.get(request)
        if base is None:
            return self.blocks_for(self._own_tokens.get(request, 0))
        return self.blocks_for(base + self._steps) + (request in self._granted)

    def cached_tokens(self, request: Request, known: int) -> int:
        """Query: tokens of the prompt whose keys and values are here already."""
        return 0

    def admits(self, request: Request, cached: int, reached: int, whole: int, spare: int) -> bool:
        """Query: room for `whole` tokens in all, of which `cached` are here, and for `spare` blocks besides.

        `reached` of them come with the first chunk; a cache whose requests give blocks back asks for those too.
        """
        return -(-whole // self.block_size) + spare - cached // self.block_size <= self.free_blocks

    def admit(self, request: Request, cached: int, tokens: int) -> None:
        """Verb: take the `cached` tokens' blocks and new ones up to `tokens`."""
        self.free_blocks -= -(-tokens // self.block_size)
        self._own_tokens[request] = tokens

    def grow(self, request: Request, tokens: int) -> bool:
        """Verb: own blocks for `tokens` tokens in all; False and nothing changed when there are too few."""
        more = self.blocks_for(tokens) - self.blocks_for(self._own_tokens.get(request, 0))
        if more > self.free_blocks:
            return False
        if more > 0:
            self._take(more)
        self._own_tokens[request] = tokens
        return True

    def release(self, request: Request, unsettled: int = 0) -> None:
        """Verb: give up every block; the content of the last `unsettled` tokens is not known yet."""
        more = 0
        if request in self._joined:
            if request in self._granted:
                self._granted.remove(request)
                more = 1
            self.leave(request)
        tokens = self._own_tokens.pop(request, 0)
        self._give_back(request, -(-tokens // self.block_size) + more, tokens - unsettled)

    # -- requests in lockstep

    def join(self, request: Request, tokens: int) -> None:
        """Verb: from the next step on the request, now `tokens` long, gains a token a step."""
        del self._own_tokens[request]
        base = tokens - self._steps
        self._joined[request] = base
        self._crossing[-base % self.block_size][request] = None
        self._bases += base

    def leave(self, request: Request) -> None:
        """Verb: the request keeps its blocks but gains no more tokens."""
        base = self._joined.pop(request)
        del self._crossing[-base % self.block_size][request]
        self._bases -= base
        self._own_tokens[request] = base + self._steps

    def crossing(self) -> list[Request]:
        """Query: the joined requests that need a block for the next step, in order of admission."""
        return sorted(self._crossing[self._steps % self.block_size], key=_by_order)

    def crosses(self, request: Request) -> bool:
        """Query: whether a joined request needs a block for the next step."""
        return request in self._crossing[self._steps % self.block_size]

    @property
    def short(self) -> bool:
        """Query: whether the next step needs more blocks than are free."""
        return len(self._crossing[self._steps % self.block_size]) > self.free_blocks

    def grant(self, request: Request) -> bool:
        """Verb: give a crossing request its block for the next step, ahead of `advance`."""
        if self.free_blocks == 0:
            return False
        self._take(1)
        self._granted.add(request)
        return True

    def step(self) -> bool:
        """Verb: one step for the joined requests, if it finds its blocks free."""
        needed = len(self._crossing[self._steps % self.block_size])
        if needed:
            if needed > self.free_blocks:
                return False
            self._take(needed)
        self._steps += 1
        return True

    def advance(self, steps: int) -> None:
        """Verb: every joined request gained `steps` tokens."""
        needed = self._needed(steps) - len(self._granted)
        if needed > self.free_blocks:
            raise PolicyError(f"paged cache: {steps} steps need {needed} blocks, {self.free_blocks} are free")
        if self._granted:
            self._granted.clear()
        if needed:
            self._take(needed)
        self._steps += steps

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps find their blocks free."""
        if (limit // self.block_size + 1) * len(self._joined) <= self.free_blocks:
            return limit
        size, left = self.block_size, self.free_blocks
        round_of_steps = len(self._joined)
        rounds = min(left // round_of_steps, limit // size)
        steps, left = rounds * size, left - rounds * round_of_steps
        while steps < limit:
            left -= len(self._crossing[(self._steps + steps) % size])
            if left < 0:
                break
            steps += 1
        return steps

    def steps_without_more_room(self, limit: int) -> int:
        """Query: how many of the next `limit` steps leave no more blocks free than there are now."""
        return limit

    def _needed(self, steps: int) -> int:
        """Blocks that the joined requests take over the next `steps` steps."""
        size, crossing = self.block_size, self._crossing
        rounds, rest = divmod(steps, size)
        start = self._steps % size
        part = sum(map(len, crossing[start : start + rest]))
        if start + rest > size:
            part += sum(map(len, crossing[: start + rest - size]))
        return rounds * len(self._joined) + part

    # -- the pool; a cache that remembers content overrides these

    def _take(self, count: int) -> None:
        self.free_blocks -= count

    def _give_back(self, request: Request, held: int, tokens: int) -> None:
        self.free_blocks += held

    def usage(self) -> Usage:
        """Query: the last block of a request is partly empty; nothing else is lost."""
        used = self._bases + self._steps * len(self._joined) + sum(self._own_tokens.values())
        free = self.free_blocks * self.block_size
        return Usage(used, 0, self.capacity_tokens - free - used, 0, free)

    def check(self) -> None:
        """Query: blocks are neither lost nor doubled, and every joined request waits in its own place."""
        held = sum(self.held_blocks(request) for request in (*self._own_tokens, *self._joined))
        assert held + self.free_blocks == self.num_blocks - 1, (held, self.free_blocks, self.num_blocks)
        assert self.free_blocks >= 0
        assert not self._own_tokens.keys() & self._joined.keys()
        assert self._granted <= self._joined.keys()
        assert sum(map(len, self._crossing)) == len(self._joined)
        for request, base in self._joined.items():
            assert request in self._crossing[-base % self.block_size]


def _by_order(request: Request) -> int:
    return request.order
