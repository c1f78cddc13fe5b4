"""How far requests in lockstep go on the blocks that are free: what they take and give repeats round by round."""

from collections.abc import Sequence, Sized


def sizes_from(buckets: Sequence[Sized], step: int) -> list[int]:
    """Sizes of the buckets of a round, from that of a step on."""
    start = step % len(buckets)
    sizes = list(map(len, buckets))
    return sizes[start:] + sizes[:start]


def turns(buckets: Sequence[Sized], step: int, steps: int) -> int:
    """How many members have their turn in so many steps from one on, counted once for each turn."""
    size = len(buckets)
    rounds, rest = divmod(steps, size)
    part = sum([len(buckets[turn % size]) for turn in range(step, step + rest)])
    return rounds * sum(map(len, buckets)) + part if rounds else part


def sure_steps(free: int, taken: Sequence[int], given: Sequence[int], limit: int) -> int:
    """How many of the next `limit` steps find their blocks free if all are taken before any is given."""
    size = len(taken)
    spent = most = 0  # over one round
    for taking, giving in zip(taken, given, strict=True):
        most = max(most, spent + taking)
        spent += taking - giving
    rounds = limit // size
    if free < most:
        rounds = 0
    elif spent:
        rounds = min((free - most) // spent + 1, rounds)
    free -= rounds * spent
    steps = rounds * size
    while steps < limit and taken[steps % size] <= free:
        free += given[steps % size] - taken[steps % size]
        steps += 1
    return steps


def level_steps(taken: Sequence[int], given: Sequence[int], limit: int) -> int:
    """How many of the next `limit` steps leave no more blocks free than there are now."""
    spent = 0  # over a whole round no less than nothing
    for steps, (taking, giving) in enumerate(zip(taken, given, strict=True)):
        spent += taking - giving
        if spent < 0:
            return min(limit, steps)
    return limit
