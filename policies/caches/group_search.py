"""Which leading blocks of a prompt groups of layers have: full groups need all, windowed ones the last window."""

from collections.abc import Container, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """Leading blocks whose content is here: in all groups as far as they are needed, and in the full ones alone."""

    blocks: int
    in_full: int


@dataclass(frozen=True, slots=True)
class Presence:
    """What some groups have of a request's blocks: shared ones, by group and name, and behind those its own."""

    shared: Container[Hashable]
    names: list[int]
    groups: range
    own: list[set[int]]

    def has(self, number: int) -> bool:
        """Whether all the groups have a block."""
        if number < len(self.names):
            return all((group, self.names[number]) in self.shared for group in self.groups)
        return all(number in numbers for numbers in self.own)

    def leading(self, limit: int) -> int:
        """How many of the first `limit` blocks are here, up to the first that is not."""
        return next((number for number in range(limit) if not self.has(number)), limit)

    def up_to_window(self, limit: int, window_blocks: int) -> int:
        """The last of the first `limit` ends that has its window before it, or all there is before it."""
        run = 0
        for number in reversed(range(limit)):
            run = run + 1 if self.has(number) else 0
            if run and run >= window_blocks:
                return number + run
        return run
