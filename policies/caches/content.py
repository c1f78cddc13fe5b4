"""Names for what blocks contain: two blocks have one name exactly if their tokens and all tokens before are equal."""

from collections.abc import Hashable

from sim.request import Request

UNBOUNDED = 1 << 40

Segments = tuple[tuple[Hashable, int], ...]


class Contents:
    """A chain of block names for each beginning that prompts may share."""

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._names: dict[tuple[int, Hashable], int] = {}  # (name of the block before, content) -> name
        self._chains: dict[Segments, list[int]] = {}

    def shareable_blocks(self, request: Request) -> int:
        """Leading blocks that hold nothing unique to the request."""
        if request.own is not None:
            return UNBOUNDED
        if not request.prefix:
            return 0
        return sum([tokens for _, tokens in request.prefix]) // self.block_size

    def keys(self, request: Request, count: int) -> list[int]:
        """Names of the first `count` blocks."""
        if count <= 0:
            return []
        segments = request.prefix
        if request.own is not None:
            segments = (*segments, (request.own, UNBOUNDED))
        chain = self._chains.setdefault(segments, [])
        while len(chain) < count:
            before = chain[-1] if chain else -1
            content = (before, self._content(segments, len(chain)))
            chain.append(self._names.setdefault(content, len(self._names)))
        return chain[:count]

    def _content(self, segments: Segments, block: int) -> tuple[tuple[Hashable, int, int], ...]:
        """The pieces (content, offset, tokens) that a block is made of."""
        start, end = block * self.block_size, (block + 1) * self.block_size
        pieces: list[tuple[Hashable, int, int]] = []
        position = 0
        for key, tokens in segments:
            first, last = max(start, position), min(end, position + tokens)
            if first < last:
                pieces.append((key, first - position, last - first))
            position += tokens
        return tuple(pieces)
