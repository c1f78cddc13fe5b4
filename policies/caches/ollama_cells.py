"""The cells of Ollama's own runners: one array that all slots share, of which each slot may fill its part and no more.

A slot that is full drops the older half of what it holds and goes on.
"""

from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from sim.cache import Usage


class OllamaCells(UnifiedCache):
    """`num_ctx` cells for each slot, taken at load; where in the array they lie is anybody's."""

    def __init__(self, slots: int, num_ctx: int, num_keep: int = 4) -> None:
        super().__init__(slots, slots * num_ctx, num_ctx)
        self.discard_tokens = max(1, (num_ctx - num_keep) // 2)

    def steps_until_change(self, limit: int) -> int:
        """Query: how many of the next `limit` steps leave the span as it is and fill no slot."""
        return min(super().steps_until_change(limit), self.steps_until_full())

    def shift_full(self) -> None:
        """Verb: every joined slot without a cell for its next token drops half of its context."""
        if self._joined and not self.steps_until_full():
            for slot in sorted(self._joined):
                self.shift_if_full(slot)

    def shift_if_full(self, slot: int) -> None:
        """Verb: drop half of the slot's context if it has no cell left for its next token."""
        if self._lanes[slot].request is not None and self.context(slot) >= self.lane_tokens:
            self.shorten(slot, self.lane_tokens - self.discard_tokens)

    def usage(self) -> Usage:
        """Query: the part of a busy slot is lost to others, full or empty."""
        return SlotCache.usage(self)
