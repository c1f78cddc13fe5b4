"""Reserved memory against a copy that writes down the owner of every cell."""

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.caches.reserved import ReservedCache
from sim.errors import PolicyError
from sim.request import Request

CELLS = 96
LONGEST = 32


class OwnerOfEveryCell(RuleBasedStateMachine):
    """Contiguous reservations take the first gap that is long enough; scattered ones any free cells."""

    @initialize(contiguous=st.booleans())
    def begin(self, contiguous: bool) -> None:
        self.contiguous = contiguous
        self.cache = ReservedCache(CELLS, LONGEST, contiguous)
        self.owners: list[int | None] = [None] * CELLS
        self.requests: dict[int, Request] = {}
        self.filled: dict[int, int] = {}
        self.fillable: dict[int, int] = {}
        self.joined: set[int] = set()
        self.number = 0

    # -- the copy's own arithmetic

    def size(self, number: int) -> int:
        return self.owners.count(number)

    def gaps(self) -> list[range]:
        """Runs of free cells, in order of address."""
        runs, start = [], None
        for cell, owner in enumerate([*self.owners, -1]):
            if owner is None and start is None:
                start = cell
            elif owner is not None and start is not None:
                runs.append(range(start, cell))
                start = None
        return runs

    def cells_for(self, tokens: int) -> list[int] | None:
        """Where a reservation goes; None where nothing would do."""
        if self.contiguous:
            return next((list(gap[:tokens]) for gap in self.gaps() if len(gap) >= tokens), None)
        free = [cell for cell, owner in enumerate(self.owners) if owner is None]
        return free[:tokens] if len(free) >= tokens else None

    def newcomer(self, prompt: int, limit: int) -> Request:
        self.number += 1
        return Request(self.number, prompt, 1, limit)

    def note(self, request: Request, cells: list[int] | None) -> None:
        for cell in cells or ():
            self.owners[cell] = request.id
        if cells is not None:
            self.requests[request.id] = request
            self.filled[request.id] = 0
            self.fillable[request.id] = min(len(cells), request.prompt_tokens + request.limit)

    def one_of(self, data: st.DataObject, numbers: set[int]) -> Request:
        return self.requests[data.draw(st.sampled_from(sorted(numbers)))]

    @property
    def alone(self) -> set[int]:
        return self.requests.keys() - self.joined

    # -- what a scheduler does

    @rule(prompt=st.integers(1, 20), limit=st.integers(1, 20), tokens=st.integers(1, LONGEST))
    def reserve(self, prompt: int, limit: int, tokens: int) -> None:
        request, cells = self.newcomer(prompt, limit), self.cells_for(tokens)
        assert self.cache.room_for(tokens) == (cells is not None)
        assert self.cache.reserve(request, tokens) == (cells is not None)
        self.note(request, cells)

    @rule(prompt=st.integers(1, LONGEST + 1), limit=st.integers(1, 20))
    def grow_without_a_reservation(self, prompt: int, limit: int) -> None:
        """Whoever has reserved nothing gets the longest there is."""
        request, tokens = self.newcomer(prompt, limit), prompt
        cells = self.cells_for(LONGEST) if tokens <= LONGEST else None
        assert self.cache.grow(request, tokens) == (cells is not None)
        self.note(request, cells)
        if cells is not None:
            self.filled[request.id] = tokens

    @precondition(lambda self: self.alone)
    @rule(data=st.data())
    def grow(self, data: st.DataObject) -> None:
        """No request has more tokens than its prompt and its limit."""
        request = self.one_of(data, self.alone)
        tokens = data.draw(st.integers(self.filled[request.id], self.fillable[request.id]))
        assert self.cache.grow(request, tokens)
        self.filled[request.id] = tokens

    @precondition(lambda self: self.alone)
    @rule(data=st.data())
    def growing_beyond_what_is_reserved_changes_nothing(self, data: st.DataObject) -> None:
        request = self.one_of(data, self.alone)
        assert not self.cache.grow(request, self.size(request.id) + 1)

    @precondition(lambda self: self.alone)
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        request = self.one_of(data, self.alone)
        self.cache.join(request, self.filled[request.id])
        self.joined.add(request.id)

    @precondition(lambda self: self.alone)
    @rule(data=st.data())
    def joining_with_more_than_is_reserved_is_an_error(self, data: st.DataObject) -> None:
        request = self.one_of(data, self.alone)
        with pytest.raises(PolicyError, match="reserved"):
            self.cache.join(request, self.size(request.id) + 1)

    @precondition(lambda self: self.joined)
    @rule(wanted=st.integers(1, 20), goes=st.integers(1, 3))
    def advance(self, wanted: int, goes: int) -> None:
        """As many steps as everybody has cells for; how they are cut up does not matter."""
        assert self.cache.steps_until_change(wanted) == wanted
        room = min(self.fillable[number] - self.filled[number] for number in self.joined)
        for _ in range(goes):
            steps = min(wanted, room)
            room -= steps
            self.cache.advance(steps)
            for number in self.joined:
                self.filled[number] += steps

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = self.one_of(data, self.joined)
        self.cache.leave(request)
        self.joined.discard(request.id)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        request = self.one_of(data, set(self.requests))
        self.cache.close(request)
        self.joined.discard(request.id)
        self.fillable[request.id] = self.filled[request.id]

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        request = self.one_of(data, set(self.requests))
        self.cache.release(request)
        self.cache.release(request)  # what is given up already is nobody's
        self.owners = [None if owner == request.id else owner for owner in self.owners]
        self.joined.discard(request.id)
        for known in (self.requests, self.filled, self.fillable):
            del known[request.id]

    # -- what must hold after each of them

    @invariant()
    def everybody_owns_what_the_copy_says(self) -> None:
        for number, request in self.requests.items():
            assert self.cache.reserved_tokens(request) == self.size(number)
        assert self.cache.free_tokens == self.owners.count(None)

    @invariant()
    def room_is_where_the_copy_finds_it(self) -> None:
        for tokens in (1, LONGEST // 2, LONGEST, CELLS):
            assert self.cache.room_for(tokens) == (self.cells_for(tokens) is not None)

    @invariant()
    def every_cell_is_counted_under_one_heading(self) -> None:
        used, reserved = sum(self.filled.values()), 0
        for number, filled in self.filled.items():
            reserved += self.fillable[number] - filled
        held = CELLS - self.owners.count(None)
        too_short = sum(len(gap) % LONGEST for gap in self.gaps()) if self.contiguous else 0
        free = CELLS - held - too_short
        assert self.cache.usage() == (used, reserved, held - used - reserved, too_short, free)

    @invariant()
    def the_cache_agrees_with_itself(self) -> None:
        self.cache.check()


TestOwnerOfEveryCell = OwnerOfEveryCell.TestCase
