"""How llama.cpp cuts the rows of one step into passes over the weights.

Rows are (slot, tokens) in the order of the batch: one token for every generating slot, by slot, then the prompts,
by slot. A slot stands in at most one row. A pass is again a list of (slot, tokens).
"""

Rows = list[tuple[int, int]]


def equal_passes(rows: Rows, n_ubatch: int) -> list[Rows]:
    """Streams of their own: a pass holds consecutive slots and the same number of tokens of each."""
    left = dict(rows)
    passes: list[Rows] = []
    while left:
        slots = _consecutive(left)
        tokens = min(max(1, n_ubatch // len(slots)), *[left[slot] for slot in slots])
        for slot in slots:
            left[slot] -= tokens
            if not left[slot]:
                del left[slot]
        passes.append([(slot, tokens) for slot in slots])
    return passes


def _consecutive(left: dict[int, int]) -> list[int]:
    """The first slot that has tokens left, and of those after it each that continues the numbering."""
    slots: list[int] = []
    following = -1
    for slot in left:
        if slot == following or not slots:
            slots.append(slot)
            following = slot + 1
    return slots


def plain_passes(rows: Rows, n_ubatch: int) -> list[Rows]:
    """One shared stream: pieces of n_ubatch tokens in the order of the batch."""
    passes: list[Rows] = []
    room = 0
    for slot, tokens in rows:
        rest = tokens
        while rest:
            if not room:
                passes.append([])
                room = n_ubatch
            taken = min(rest, room)
            passes[-1].append((slot, taken))
            rest -= taken
            room -= taken
    return passes
