"""Groups of layers that take blocks of their own from one pool, as vLLM divides a model with sliding windows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Groups:
    """How many groups of layers see everything, how many a window, and how wide it is in tokens."""

    full: int
    windowed: int
    window: int

    @property
    def count(self) -> int:
        """Blocks that a block's worth of tokens takes while it is inside the window."""
        return self.full + self.windowed

    def most_kept(self, block_size: int, in_flight: int, max_model_len: int) -> int:
        """Blocks that a windowed group holds of a request at most, with so many tokens under way."""
        return -(-min(self.window - 1 + in_flight, max_model_len) // block_size) + 1

    def blocks(self, block_size: int, tokens: int, most_kept: int) -> int:
        """Blocks of all groups that a request of so many tokens needs at a time."""
        blocks = -(-tokens // block_size)
        return self.full * blocks + self.windowed * min(blocks, most_kept)
