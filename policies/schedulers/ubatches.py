"""How llama.cpp cuts the tokens of one step into passes over the weights.

The batch holds one token for every generating slot, by slot number, then the prompts, by slot number. A prompt is
(slot, tokens); a slot stands in the batch once.
"""

from functools import lru_cache
from typing import NamedTuple

Prompts = list[tuple[int, int]]
Range = tuple[int, int]  # slots, from a number up to another
Rows = tuple[int, int]  # of answers, of prompts


class Share(NamedTuple):
    """A pass over separate streams: the same number of tokens of each of some slots."""

    slots: tuple[int, ...]
    tokens: int


def equal_passes(generating: tuple[int, ...], prompts: Prompts, n_ubatch: int) -> list[Share]:
    """Separate streams: a pass holds consecutive slots and the same number of tokens of each."""
    if not all(tokens > len(generating) for _, tokens in prompts):
        return _cut(dict([*[(slot, 1) for slot in generating], *prompts]), n_ubatch)
    passes = [Share(slots, 1) for slots in while_some_generate(generating, tuple([slot for slot, _ in prompts]))]
    left = dict(prompts)
    for slots, _ in passes:
        for slot in slots:
            if slot in left:
                left[slot] -= 1
    return passes + _cut(left, n_ubatch)


@lru_cache(maxsize=4096)
def while_some_generate(generating: tuple[int, ...], prompts: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The first passes, of one token a slot, until every generating slot had its own; prompts are longer than that."""
    longer = len(generating) + 1
    passes = _cut(dict([*[(slot, 1) for slot in generating], *[(slot, longer) for slot in prompts]]), longer)
    return tuple(slots for slots, _ in passes if set(slots) & set(generating))


@lru_cache(maxsize=4096)
def first_passes(generating: tuple[int, ...], prompts: tuple[int, ...]) -> tuple[list[Range], tuple[Rows, ...], int]:
    """The same passes: the slots of each, how many of them generate and have a prompt; and all rows of prompts."""
    passes = while_some_generate(generating, prompts)
    beside = [len(set(slots) & set(prompts)) for slots in passes]
    rows = tuple([(len(slots) - count, count) for slots, count in zip(passes, beside, strict=True)])
    return [(slots[0], slots[-1] + 1) for slots in passes], rows, sum(beside)


def _cut(left: dict[int, int], n_ubatch: int) -> list[Share]:
    """Take pass after pass from the tokens that the slots have left."""
    passes: list[Share] = []
    while left:
        slots = _consecutive(left)
        tokens = min(max(1, n_ubatch // len(slots)), *[left[slot] for slot in slots])
        for slot in slots:
            left[slot] -= tokens
            if not left[slot]:
                del left[slot]
        passes.append(Share(slots, tokens))
    return passes


def _consecutive(left: dict[int, int]) -> tuple[int, ...]:
    """The first slot that has tokens left, and of those after it each that continues the numbering."""
    if len(left) == 1:
        return tuple(left)
    slots: list[int] = []
    following = -1
    for slot in left:
        if slot == following or not slots:
            slots.append(slot)
            following = slot + 1
    return tuple(slots)


def plain_passes(tokens: int, n_ubatch: int) -> list[int]:
    """One shared stream: pieces of n_ubatch tokens in the order of the batch."""
    full, rest = divmod(tokens, n_ubatch)
    return [n_ubatch] * full + [rest] * (rest > 0)
