"""A paged cache as simple as can be: real token lists, real blocks, one of each at a time. The oracle of the tests."""

from dataclasses import dataclass, field

from sim.request import Request

Tokens = tuple[object, ...]


def tokens_of(request: Request, count: int) -> list[object]:
    """The first `count` tokens of a request's prompt and output, as values that can be compared."""
    tokens: list[object] = [(key, place) for key, length in request.prefix for place in range(length)]
    rest = ("own", request.own) if request.own is not None else ("unique", request.id)
    tokens += [(rest, place) for place in range(count)]
    return tokens[:count]


@dataclass(eq=False)
class Block:
    """A block with the whole context up to its end as its content, once it is full."""

    users: int = 0
    content: Tokens | None = None


@dataclass
class NaiveBlocks:
    """Free blocks stand in a line: taken from the front; with content they go to its end, without to its front."""

    num_blocks: int
    size: int
    caching: bool
    line: list[Block] = field(default_factory=list)
    held: dict[Request, list[Block]] = field(default_factory=dict)
    inserted: list[Block] = field(default_factory=list)  # blocks with content, oldest content first

    def __post_init__(self) -> None:
        self.line = [Block() for _ in range(self.num_blocks - 1)]

    def find(self, request: Request, known: int) -> list[Block]:
        """Full blocks at the beginning, never the one with the last token."""
        found: list[Block] = []
        while self.caching and (len(found) + 1) * self.size <= known - 1:
            content = tuple(tokens_of(request, (len(found) + 1) * self.size))
            block = next((b for b in self.inserted if b.content == content), None)
            if block is None:
                break
            found.append(block)
        return found

    def fits(self, request: Request, found: list[Block], tokens: int) -> bool:
        """Whether new blocks and revived ones are free."""
        needed = -(-tokens // self.size) - len(found) - len(self.held.get(request, []))
        return max(0, needed) + sum(block.users == 0 for block in found) <= len(self.line)

    def take(self, request: Request, found: list[Block], tokens: int) -> None:
        """Own blocks for `tokens` tokens in all."""
        blocks = self.held.setdefault(request, [])
        for block in found:
            if block.users == 0:
                self.line.remove(block)
            block.users += 1
            blocks.append(block)
        while len(blocks) * self.size < tokens:
            block = self.line.pop(0)
            if block.content is not None:
                self.inserted.remove(block)
                block.content = None
            block.users = 1
            blocks.append(block)
        if self.caching:
            for number in range(tokens // self.size):
                block = blocks[number]
                if block.content is None:
                    block.content = tuple(tokens_of(request, (number + 1) * self.size))
                    self.inserted.append(block)

    def release(self, request: Request) -> None:
        """Last block first."""
        blank: list[Block] = []
        for block in reversed(self.held.pop(request)):
            block.users -= 1
            if block.users == 0:
                (blank if block.content is None else self.line).append(block)
        self.line[:0] = blank
