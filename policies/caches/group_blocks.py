"""What a request holds of blocks with content, group by group, and which of them windowed groups will remember."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from policies.caches.remembered import SharedBlock


@dataclass(slots=True)
class Holding:
    """A request's blocks with content, while it has them in use."""

    shared: list[dict[int, SharedBlock]]  # of each group, by number
    named: int  # leading blocks that need no more naming
    kept: list[range]  # numbers that windowed groups remember
    revived: dict[tuple[int, int], int] = field(default_factory=dict)  # lives of own blocks found, by group and number

    def kept_among(self, numbers: range) -> list[int]:
        """Query: those of the numbers that windowed groups remember."""
        start, stop = numbers.start, numbers.stop
        return [number for kept in self.kept for number in range(max(start, kept.start), min(stop, kept.stop))]

    def lives(self, group: int, numbers: list[int], latest: int) -> dict[int, int]:
        """Query: of a group's own blocks, the admission that each was filled after: the latest, but for those found."""
        lives = dict.fromkeys(numbers, latest)
        if self.revived:
            lives.update((number, self.revived.get((group, number), latest)) for number in numbers)
        return lives


def merged(ranges: Iterable[range]) -> list[range]:
    """The numbers of all ranges, in ranges that do not touch, in order."""
    apart: list[range] = []
    for each in sorted(ranges, key=lambda each: (each.start, each.stop)):
        if apart and each.start <= apart[-1].stop:
            apart[-1] = range(apart[-1].start, max(each.stop, apart[-1].stop))
        elif each:
            apart.append(each)
    return apart
