"""What a prefix cache over groups of layers knows of blocks: who shares them, whose runs lie in its queue."""

from dataclasses import dataclass

from sim.request import Request


class SharedBlock:
    """A group's full block whose content other prompts may begin with too."""

    __slots__ = ("place", "users")

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place  # group, name of the content
        self.users = 1


class Run:
    """A group's full blocks unique to a request that has let go of them; the last one is evicted first."""

    __slots__ = ("group", "lives", "numbers", "request")

    def __init__(self, request: Request, group: int, numbers: list[int], lives: list[int]) -> None:
        self.request = request
        self.group = group
        self.numbers = numbers
        self.lives = lives  # of each block, the admission that it was filled after: of copies the oldest is found


@dataclass(frozen=True, slots=True)
class Found:
    """Leading blocks whose content is here: in all groups as far as they are needed, and in the full ones alone."""

    blocks: int
    in_full: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Says of a block's number whether all of some groups have it: shared, or the request's own."""

    copies: dict[tuple[int, int], list[SharedBlock]]
    names: list[int]
    groups: range
    own: list[set[int]]

    def __call__(self, number: int) -> bool:
        if number < len(self.names):
            return all((group, self.names[number]) in self.copies for group in self.groups)
        return all(number in numbers for numbers in self.own)
