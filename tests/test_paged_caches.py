"""Paged and prefix caches do block by block what a naive copy with real tokens does."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from sim.errors import PolicyError
from sim.request import Request
from tests.naive_blocks import NaiveBlocks

SIZE = 4
PICK = st.integers(0, 999)
PREFIXES = st.sampled_from(
    [(), (("a", 4),), (("a", 9),), (("a", 9), ("b", 7)), (("b", 16),), (("a", 9), ("c", 40)), (("d", 3),)]
)


class PagedMachine(RuleBasedStateMachine):
    """Requests come, grow alone, run in lockstep, are preempted and come back."""

    caching = False

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.outside: list[Request] = []
        self.alone: dict[Request, int] = {}  # request -> tokens computed
        self.joined: dict[Request, int] = {}

    @initialize(
        blocks=st.integers(4, 24), first=st.lists(st.tuples(PREFIXES, st.integers(0, 20)), min_size=2, max_size=6)
    )
    def start(self, blocks: int, first: list[tuple[tuple[tuple[str, int], ...], int]]) -> None:
        cache_type = PrefixCache if self.caching else PagedCache
        self.cache = cache_type(blocks, SIZE)
        self.naive = NaiveBlocks(blocks, SIZE, self.caching)
        for prefix, tail in first:
            self.arrive(prefix, tail, None)

    @rule(prefix=PREFIXES, tail=st.integers(0, 20), own=st.sampled_from([None, None, "talk"]))
    def arrive(self, prefix: tuple[tuple[str, int], ...], tail: int, own: str | None) -> None:
        if own in {request.own for request in (*self.outside, *self.alone, *self.joined)}:
            own = None  # a conversation asks its next question once it has the last answer
        self.count += 1
        shared = sum(length for _, length in prefix)
        request = Request(self.count, max(1, shared + tail), 50, prefix=prefix, own=own)
        request.order = self.count
        self.outside.append(request)

    @precondition(lambda self: self.outside)
    @rule(pick=PICK)
    def serve(self, pick: int) -> None:
        """A whole prompt at once, which then decodes."""
        request = self.outside[pick % len(self.outside)]
        self.admit(pick, 999)
        if request in self.alone:
            self.join_one(request)

    @precondition(lambda self: self.outside)
    @rule(pick=PICK, chunk=st.integers(1, 40))
    def admit(self, pick: int, chunk: int) -> None:
        request = self.outside.pop(pick % len(self.outside))
        known = request.known_tokens
        cached = self.cache.cached_tokens(request, known)
        found = self.naive.find(request, known)
        assert cached == len(found) * SIZE
        tokens = min(known, cached + chunk)
        admits = self.cache.admits(request, cached, tokens, tokens, 0)
        assert admits == self.naive.fits(request, found, tokens)
        if not admits:
            self.outside.append(request)
            return
        self.cache.admit(request, cached, tokens)
        self.naive.take(request, found, tokens)
        self.alone[request] = tokens

    @precondition(lambda self: self.alone)
    @rule(pick=PICK, more=st.integers(1, 12))
    def grow(self, pick: int, more: int) -> None:
        request = list(self.alone)[pick % len(self.alone)]
        tokens = min(self.alone[request] + more, request.known_tokens)
        fits = self.naive.fits(request, [], tokens)
        assert self.cache.grow(request, tokens) == fits
        if fits:
            self.naive.take(request, [], tokens)
            self.alone[request] = tokens

    def ready(self) -> list[Request]:
        return [request for request, tokens in self.alone.items() if tokens == request.known_tokens]

    @precondition(lambda self: self.ready())
    @rule(pick=PICK)
    def join(self, pick: int) -> None:
        self.join_one(self.ready()[pick % len(self.ready())])

    def join_one(self, request: Request) -> None:
        tokens = self.alone.pop(request)
        self.cache.join(request, tokens)
        self.joined[request] = tokens

    @precondition(lambda self: self.joined)
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        request = list(self.joined)[pick % len(self.joined)]
        self.cache.leave(request)
        self.alone[request] = self.joined.pop(request)
        request.generated = self.alone[request] - request.prompt_tokens + 1

    @precondition(lambda self: self.joined)
    @rule(wanted=st.integers(1, 9))
    def advance(self, wanted: int) -> None:
        steps = self.cache.steps_until_change(wanted)
        done = 0
        while done < wanted and self._naive_step():
            done += 1
        assert steps == done
        if steps:
            self.cache.advance(steps)
        if steps < wanted:
            assert self.cache.short
            with pytest.raises(PolicyError):
                self.cache.advance(1)

    @precondition(lambda self: self.joined and not self.cache.short)
    @rule()
    def grant_one_by_one(self) -> None:
        """The crossing requests are served in order of admission; then the step is taken."""
        for request in self.cache.crossing():
            assert self.cache.crosses(request)
            assert self.cache.grant(request)
        assert self._naive_step()
        self.cache.advance(1)

    @precondition(lambda self: self.alone or self.joined)
    @rule(pick=PICK, comes_back=st.booleans())
    def release(self, pick: int, comes_back: bool) -> None:
        everyone = [*self.alone, *self.joined]
        request = everyone[pick % len(everyone)]
        computed = self.alone.pop(request, None) or self.joined.pop(request)
        self.cache.release(request)
        self.naive.release(request)
        request.generated = max(request.generated, computed - request.prompt_tokens + 1)
        if comes_back and computed >= request.prompt_tokens:
            request.preemptions += 1
            self.outside.append(request)

    def _naive_step(self) -> bool:
        """One token for every joined request, all or nothing."""
        crossing = [request for request, tokens in self.joined.items() if tokens % SIZE == 0]
        if len(crossing) > len(self.naive.line):
            return False
        for request in sorted(self.joined, key=lambda request: (request not in crossing, request.order)):
            self.joined[request] += 1
            self.naive.take(request, [], self.joined[request])
        return True

    @invariant()
    def same_free_blocks(self) -> None:
        if hasattr(self, "cache"):
            self.cache.check()
            assert self.cache.free_blocks == len(self.naive.line)
            for request in (*self.alone, *self.joined):
                assert self.cache.held_blocks(request) == len(self.naive.held[request])
            assert sum(self.cache.usage()) == self.cache.capacity_tokens


class PrefixMachine(PagedMachine):
    """The same life with content that is remembered."""

    caching = True


TestPagedCacheEqualsNaiveBlocks = PagedMachine.TestCase
TestPrefixCacheEqualsNaiveBlocks = PrefixMachine.TestCase

_often = settings(max_examples=4 * settings().max_examples, stateful_step_count=30)
TestPagedCacheEqualsNaiveBlocks.settings = _often
TestPrefixCacheEqualsNaiveBlocks.settings = _often
