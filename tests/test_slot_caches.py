"""Lanes and the shared pool of cells, each against a model that keeps every cell by itself."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.caches.slots import Content, SlotCache, common_tokens, content_of, padded, split_context
from policies.caches.unified import UnifiedCache
from sim.errors import PolicyError
from sim.request import Request

SLOTS = 3
LANE = 1024
POOL = 1280


def request(prompt: int, limit: int = 2000, prefix: Content = (), own: str | None = None) -> Request:
    return Request(0, prompt, 1, limit, prefix=prefix, own=own)


@pytest.mark.parametrize(
    ("n_ctx", "slots", "context", "total"), [(8192, 3, 2816, 8448), (4096, 4, 1024, 4096), (10000, 4, 2560, 10240)]
)
def test_split_contexts_are_rounded_up_and_may_exceed_what_was_asked(
    n_ctx: int, slots: int, context: int, total: int
) -> None:
    assert split_context(n_ctx, slots) == context
    assert SlotCache(slots, split_context(n_ctx, slots)).capacity_tokens == total


# -- what prompts have in common

KEYS = st.sampled_from(["a", "b"])
CONTENTS = st.lists(st.tuples(KEYS, st.integers(1, 4)), max_size=4).map(tuple)


@given(CONTENTS, CONTENTS)
def test_contents_share_the_tokens_that_they_share_one_by_one(first: Content, second: Content) -> None:
    def spelled(content: Content) -> list[tuple[object, ...]]:
        pieces: list[tuple[object, ...]] = []
        for place, (key, tokens) in enumerate(content):
            pieces += [(place, key, offset) for offset in range(tokens)]
        return pieces

    shared = 0
    for one, other in zip(spelled(first), spelled(second), strict=False):
        if one != other:
            break
        shared += 1
    assert common_tokens(first, second) == shared


def test_a_lane_keeps_what_a_later_prompt_may_begin_with() -> None:
    cache = SlotCache(2, 1024)
    first = request(100, prefix=(("system", 60),))
    cache.place(first, 1, 0)
    assert cache.grow(first, 100)
    cache.release(first)
    assert cache.kept(1, content_of(request(80, prefix=(("system", 60),)))) == 60
    assert cache.kept(1, content_of(request(80, prefix=(("other", 60),)))) == 0
    assert cache.kept(0, content_of(request(80, prefix=(("system", 60),)))) == 0
    second = request(80, prefix=(("system", 60),))
    cache.place(second, 1, 60)
    assert cache.context(1) == 60


def test_a_conversation_goes_on_from_its_own_answer() -> None:
    cache = SlotCache(1, 1024)
    turn = request(100, own="chat")
    cache.place(turn, 0, 0)
    cache.grow(turn, 100)
    cache.join(turn, 100)
    cache.advance(49)
    cache.release(turn)
    assert cache.kept(0, content_of(request(300, own="chat"))) == 149


# -- waste


def test_a_slot_wastes_what_its_request_can_never_use_and_reserves_what_it_may() -> None:
    cache = SlotCache(2, 1024)
    one = request(100, limit=200)
    cache.place(one, 0, 0)
    cache.grow(one, 100)
    cache.join(one, 100)
    cache.advance(9)
    used, reserved, internal, external, free = cache.usage()
    assert (used, reserved, internal, external, free) == (109, 299 - 109, 1024 - 299, 0, 1024)


def test_a_shared_pool_reserves_nothing_and_lends_what_idle_slots_keep() -> None:
    cache = UnifiedCache(2, 1024)
    for slot, tokens in ((0, 100), (1, 50)):
        one = request(tokens)
        cache.place(one, slot, 0)
        cache.grow(one, tokens)
        if slot:
            cache.release(one)
    assert cache.usage() == (100, 0, 0, 0, 924)
    assert cache.free_cells == 874
    cache.clear(1)
    assert cache.free_cells == 924


# -- limits


def test_a_lane_takes_no_more_than_its_length_and_a_pool_no_more_than_its_cells() -> None:
    lanes, pool = SlotCache(2, 256), UnifiedCache(2, 512)
    for cache, fits in ((lanes, 256), (pool, 512)):
        one = request(10)
        cache.place(one, 0, 0)
        assert not cache.grow(one, fits + 1)
        assert cache.context(0) == 0
        assert cache.grow(one, fits)


def test_steps_beyond_the_cells_are_an_error_that_names_the_numbers() -> None:
    lanes, pool = SlotCache(2, 256), UnifiedCache(2, 256)
    for cache, message in ((lanes, "256 tokens"), (pool, "6 are free")):
        one = request(250)
        cache.place(one, 0, 0)
        cache.grow(one, 250)
        cache.join(one, 250)
        cache.check()
        with pytest.raises(PolicyError, match=message):
            cache.advance(7)


def test_a_span_stays_until_the_longest_lane_of_a_pass_crosses_it() -> None:
    cache = SlotCache(3, 1024)
    for slot, tokens in enumerate((250, 255, 300)):
        one = request(tokens)
        cache.place(one, slot, 0)
        cache.grow(one, tokens)
        cache.join(one, tokens)
    assert cache.spans([(0, 2), (2, 3)]) == [256, 512]
    assert cache.steps_until_change(1000) == 1
    assert cache.spans([(0, 3)]) == [512]
    assert cache.steps_until_change(1000) == 212
    assert cache.steps_until_change(100) == 100


# -- every cell by itself


class CellByCell(RuleBasedStateMachine):
    """A pool as a plain list of owners: a token takes the lowest free cell, slots in order of their number."""

    cache: SlotCache
    shared: bool

    @initialize(shared=st.booleans())
    def begin(self, shared: bool) -> None:
        self.shared = shared
        self.cache = UnifiedCache(SLOTS, POOL) if shared else SlotCache(SLOTS, LANE)
        self.cells: list[list[int]] = [[] for _ in range(SLOTS)]  # cells of each slot, oldest first
        self.requests: list[Request | None] = [None] * SLOTS
        self.joined: set[int] = set()

    def free(self, slot: int) -> list[int]:
        size = POOL if self.shared else LANE
        taken = {cell for cells in self.cells for cell in cells} if self.shared else set(self.cells[slot])
        return [cell for cell in range(size) if cell not in taken]

    def by_themselves(self) -> list[tuple[int, int]]:
        return [(slot, slot + 1) for slot in self.joined]

    def add(self, slot: int, tokens: int) -> None:
        self.cells[slot] += self.free(slot)[:tokens]

    @rule(slot=st.integers(0, SLOTS - 1), prompt=st.integers(1, 700), kept=st.integers(0, 400))
    def place(self, slot: int, prompt: int, kept: int) -> None:
        if self.requests[slot] is None:
            one = self.requests[slot] = request(prompt)
            kept = min(kept, len(self.cells[slot]))
            self.cache.place(one, slot, kept)
            del self.cells[slot][kept:]

    @rule(slot=st.integers(0, SLOTS - 1), more=st.integers(1, 600))
    def grow(self, slot: int, more: int) -> None:
        one = self.requests[slot]
        if one is None or slot in self.joined:
            return
        fits = more <= len(self.free(slot))
        assert self.cache.grow(one, len(self.cells[slot]) + more) == fits
        if fits:
            self.add(slot, more)

    @rule(slot=st.integers(0, SLOTS - 1))
    def join(self, slot: int) -> None:
        one = self.requests[slot]
        if one is not None and slot not in self.joined and self.cells[slot]:
            self.cache.join(one, len(self.cells[slot]))
            self.joined.add(slot)

    @rule(slot=st.integers(0, SLOTS - 1))
    def leave(self, slot: int) -> None:
        one = self.requests[slot]
        if one is not None and slot in self.joined:
            self.cache.leave(one)
            self.joined.remove(slot)

    @rule(slot=st.integers(0, SLOTS - 1))
    def release(self, slot: int) -> None:
        one = self.requests[slot]
        if one is not None:
            self.cache.release(one)
            self.requests[slot] = None
            self.joined.discard(slot)

    @rule(slot=st.integers(0, SLOTS - 1))
    def clear(self, slot: int) -> None:
        if self.requests[slot] is None:
            self.cache.clear(slot)
            self.cells[slot] = []

    @rule(slot=st.integers(0, SLOTS - 1), tokens=st.integers(1, 500))
    def restore(self, slot: int, tokens: int) -> None:
        if self.requests[slot] is None:
            self.cells[slot] = []
            fits = tokens <= len(self.free(slot))
            assert self.cache.restore(slot, (("saved", tokens),), tokens) == fits
            if fits:
                self.add(slot, tokens)

    @precondition(lambda self: self.joined)
    @rule(steps=st.integers(1, 300))
    def advance(self, steps: int) -> None:
        """As many steps as find cells, in two goes: how they are cut up must not matter."""
        steps = min(
            [steps, *[len(self.free(slot)) // (len(self.joined) if self.shared else 1) for slot in self.joined]]
        )
        self.cache.advance(steps // 2)
        self.cache.advance(steps - steps // 2)
        for _ in range(steps):
            for slot in sorted(self.joined):
                self.add(slot, 1)

    @precondition(lambda self: self.joined)
    @rule(limit=st.integers(0, 400))
    def steps_until_change_changes_nothing_and_one_more_does(self, limit: int) -> None:
        before = self.cache.spans(self.by_themselves())
        steps = self.cache.steps_until_change(limit)
        assert steps <= limit
        self.cache.advance(steps)
        for slot in sorted(self.joined) * steps:
            self.add(slot, 1)
        assert self.cache.spans(self.by_themselves()) == before
        if steps < limit:
            ends = [padded(len(self.cells[slot]) + 1) for slot in self.joined]
            used = sum(map(len, self.cells))
            assert used + len(self.joined) > before[0] if self.shared else max(ends) > min(before)

    @invariant()
    def agrees_with_the_cells(self) -> None:
        self.cache.check()
        assert [self.cache.context(slot) for slot in range(SLOTS)] == [len(cells) for cells in self.cells]
        if isinstance(self.cache, UnifiedCache):
            highest = max([cell + 1 for cells in self.cells for cell in cells], default=0)
            assert self.cache.span == padded(highest)
            assert self.cache.free_cells == POOL - sum(map(len, self.cells))
        else:
            assert sorted(self.cache.spans(self.by_themselves())) == sorted(
                padded(len(self.cells[slot])) for slot in self.joined
            )


TestCellByCell = CellByCell.TestCase
