"""The shared cells of Ollama's runners against a copy that knows every single cell."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from policies.caches.ollama_cells import OllamaCells
from policies.caches.slots import SPAN_STEP
from sim.request import Request

SLOTS = 3
NUM_CTX = 300


class SharedCells(RuleBasedStateMachine):
    """Each slot's cells in the order it took them; a new token takes the lowest free one."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = OllamaCells(SLOTS, NUM_CTX)
        self.cells: list[list[int]] = [[] for _ in range(SLOTS)]
        self.requests: list[Request | None] = [None] * SLOTS
        self.joined: set[int] = set()
        self.highest = 0  # cells that a row reads, padding not included
        self.number = 0

    def take(self, slot: int) -> None:
        used = {cell for cells in self.cells for cell in cells}
        self.cells[slot].append(next(cell for cell in range(SLOTS * NUM_CTX) if cell not in used))

    def slot(self, data: st.DataObject, among: list[int]) -> int:
        return data.draw(st.sampled_from(among))

    @property
    def free(self) -> list[int]:
        return [slot for slot in range(SLOTS) if self.requests[slot] is None]

    @property
    def alone(self) -> list[int]:
        return [slot for slot in range(SLOTS) if self.requests[slot] is not None and slot not in self.joined]

    @precondition(lambda self: self.free)
    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        slot = self.slot(data, self.free)
        kept = data.draw(st.integers(0, len(self.cells[slot])))
        self.number += 1
        request = self.requests[slot] = Request(self.number, NUM_CTX, 50)
        self.cache.place(request, slot, kept)
        del self.cells[slot][kept:]

    @precondition(lambda self: self.alone)
    @rule(data=st.data(), more=st.integers(1, 200))
    def grow(self, data: st.DataObject, more: int) -> None:
        slot = self.slot(data, self.alone)
        request = self.requests[slot]
        assert request is not None
        tokens = len(self.cells[slot]) + more
        assert self.cache.grow(request, tokens) == (tokens <= NUM_CTX)
        if tokens <= NUM_CTX:
            for _ in range(more):
                self.take(slot)

    @precondition(lambda self: self.alone)
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        slot = self.slot(data, self.alone)
        request = self.requests[slot]
        assert request is not None
        self.cache.join(request, len(self.cells[slot]))
        self.joined.add(slot)

    @precondition(lambda self: self.joined)
    @rule(data=st.data(), wanted=st.integers(1, 200))
    def advance(self, data: st.DataObject, wanted: int) -> None:
        """One step always works after a shift; of further ones, as many as are said to change nothing."""
        self.cache.shift_full()
        for slot in self.joined:
            if len(self.cells[slot]) == NUM_CTX:
                del self.cells[slot][-((NUM_CTX - 4) // 2) :]
        self.step(1)
        span = self.cache.span
        steps = self.cache.steps_until_change(wanted)
        assert 0 <= steps <= wanted
        self.step(steps)
        assert self.cache.span == span
        assert all(len(self.cells[slot]) <= NUM_CTX for slot in self.joined)

    def step(self, steps: int) -> None:
        self.cache.advance(steps)
        for _ in range(steps):
            for slot in sorted(self.joined):
                self.take(slot)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        slot = self.slot(data, sorted(self.joined))
        request = self.requests[slot]
        assert request is not None
        self.cache.leave(request)
        self.joined.discard(slot)

    @precondition(lambda self: len(self.free) < SLOTS)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = self.slot(data, [slot for slot in range(SLOTS) if self.requests[slot] is not None])
        request = self.requests[slot]
        assert request is not None
        self.cache.release(request)
        self.requests[slot] = None
        self.joined.discard(slot)

    @invariant()
    def every_slot_holds_what_the_copy_holds(self) -> None:
        assert [self.cache.context(slot) for slot in range(SLOTS)] == [len(cells) for cells in self.cells]
        used = sum(len(cells) for cells in self.cells)
        assert self.cache.free_cells == SLOTS * NUM_CTX - used

    @invariant()
    def rows_read_up_to_the_highest_used_page(self) -> None:
        highest = max((cell + 1 for cells in self.cells for cell in cells), default=0)
        assert self.cache.span == -(-highest // SPAN_STEP) * SPAN_STEP

    @invariant()
    def the_cache_agrees_with_itself(self) -> None:
        self.cache.check()


SharedCells.TestCase.settings = settings(stateful_step_count=30)
TestSharedCells = SharedCells.TestCase


def test_a_busy_slot_is_lost_to_others_full_or_empty() -> None:
    cache = OllamaCells(4, 1000)
    request = Request(0, 100, 200)
    cache.place(request, 0, 0)
    cache.grow(request, 100)
    assert cache.usage() == (100, 199, 701, 0, 3000)
