"""Groups of layers over one pool, as simple as can be: a list of real blocks for every request and group."""

from dataclasses import dataclass, field

from policies.caches.groups import Groups
from sim.request import Request
from tests.naive_blocks import Block, tokens_of

Content = tuple[int, tuple[object, ...]]


@dataclass
class Holding:
    """What a request has: its blocks in each group, None where one was given back, and how far it has come."""

    blocks: list[list[Block | None]]
    kept: list[range]  # numbers that windowed groups remember
    computed: int = 0
    call: int = -1  # of the scheduler, the last that gave it tokens
    tokens: int = 0  # that it gave


@dataclass
class NaiveGroups:
    """Free blocks stand in a line: taken from the front; with content they go to its end, without to its front."""

    num_blocks: int
    size: int
    groups: Groups
    pipelined: bool
    caching: bool
    dense: bool
    call: int = 0
    line: list[Block] = field(default_factory=list)
    held: dict[Request, Holding] = field(default_factory=dict)
    inserted: list[tuple[Content, Block]] = field(default_factory=list)  # oldest first

    def __post_init__(self) -> None:
        self.line = [Block() for _ in range(self.num_blocks - 1)]

    def outgrown(self, tokens: int) -> int:
        """Blocks of which the token after `tokens` others sees nothing."""
        seen_from = tokens - (self.groups.window - 1)
        return len([number for number in range(tokens) if (number + 1) * self.size <= seen_from])

    # -- what is here

    def block(self, request: Request, group: int, number: int) -> Block | None:
        """The oldest block of a group with a content."""
        content = (group, tuple(tokens_of(request, (number + 1) * self.size)))
        return next((block for known, block in self.inserted if known == content), None)

    def find(self, request: Request, known: int) -> tuple[int, int]:
        """Leading blocks that all groups have as far as they are needed, and those that the full ones have."""
        windowed, every = range(self.groups.windowed), range(self.groups.count)
        limit = (known - 1) // self.size if self.caching else 0
        in_full = 0
        while in_full < limit and all(self.block(request, group, in_full) for group in every if group not in windowed):
            in_full += 1
        for end in range(in_full, 0, -1):
            first = self.outgrown(end * self.size)
            if all(self.block(request, group, number) for number in range(first, end) for group in windowed):
                return end, in_full
        return 0, in_full

    def numbers(self, group: int, end: int) -> range:
        """Blocks before `end` that a group needs to go on from there."""
        return range(self.outgrown(end * self.size) if group < self.groups.windowed else 0, end)

    def fits(self, request: Request, reached: int, whole: int, most_kept: int, spare: int) -> bool:
        """Whether a newcomer gets its first chunk, and might get the whole."""
        end = self.find(request, request.known_tokens)[0]
        free, new, later = len(self.line) - spare, 0, 0
        for group in range(self.groups.count):
            found = [self.block(request, group, number) for number in self.numbers(group, end)]
            free -= sum(block is not None and block.users == 0 for block in found)
            new += -(-reached // self.size) - end
            needed = -(-whole // self.size)
            later += max(0, (min(needed, most_kept) if group < self.groups.windowed else needed) - end)
        return max(new, later) <= free

    # -- taking and giving

    def admit(self, request: Request, tokens: int) -> None:
        """Take what is found, then new blocks for `tokens` tokens."""
        end, in_full = self.find(request, request.known_tokens)
        ends = [(request.prompt_tokens - 1) // self.size, *([in_full] if self.groups.full and in_full > end else [])]
        window = -(-(self.groups.window - 1) // self.size)
        kept = [range(10**6)] if self.dense else [range(max(0, stop - window), stop) for stop in ends]
        found = [[self.block(request, g, n) for n in self.numbers(g, end)] for g in range(self.groups.count)]
        holding = self.held[request] = Holding([], kept, end * self.size)
        for blocks in found:
            for block in blocks:
                assert block is not None
                if block.users == 0:
                    self.line.remove(block)
                block.users += 1
            holding.blocks.append([*[None] * (end - len(blocks)), *blocks])
        assert self.serve(request, tokens)

    def serve(self, request: Request, tokens: int) -> bool:
        """Part of a call: the request's window slides, then it takes blocks for `tokens` tokens if it can."""
        holding = self.held[request]
        under_way = holding.tokens if self.pipelined and holding.call == self.call - 1 else 0
        for group in range(self.groups.windowed):
            blocks = holding.blocks[group]
            outgrown = range(min(self.outgrown(holding.computed - under_way), len(blocks)))
            self.free([blocks[number] for number in reversed(outgrown)])
            for number in outgrown:
                blocks[number] = None
        more = -(-tokens // self.size) - len(holding.blocks[0])
        if more * self.groups.count > len(self.line):
            return False
        for group, blocks in enumerate(holding.blocks):
            blocks.extend(self.new() for _ in range(more))
            for number in range(tokens // self.size if self.caching else 0):
                if group >= self.groups.windowed or any(number in kept for kept in holding.kept):
                    self.remember(request, group, number, blocks[number])
        holding.tokens, holding.call, holding.computed = tokens - holding.computed, self.call, tokens
        return True

    def new(self) -> Block:
        """The block at the front of the line, which forgets its content."""
        block = self.line.pop(0)
        self.inserted = [(content, other) for content, other in self.inserted if other is not block]
        block.content = None
        block.users = 1
        return block

    def remember(self, request: Request, group: int, number: int, block: Block | None) -> None:
        """A full block can be found by its content."""
        if block is not None and block.content is None:
            block.content = tuple(tokens_of(request, (number + 1) * self.size))
            self.inserted.append(((group, block.content), block))

    def free(self, blocks: list[Block | None]) -> None:
        """Blocks without content to the front of the line, others to its end, in the order given."""
        blank: list[Block] = []
        for block in blocks:
            if block is not None:
                block.users -= 1
                if block.users == 0:
                    (blank if block.content is None else self.line).append(block)
        self.line[:0] = blank

    def release(self, request: Request) -> None:
        """Group by group, last block first."""
        for blocks in self.held.pop(request).blocks:
            self.free([*reversed(blocks)])
