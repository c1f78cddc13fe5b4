"""Caches for windows do block by block what a naive copy with real tokens and blocks does, in steps and in strides."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.caches.groups import Groups
from policies.caches.windowed import WindowedCache
from policies.caches.windowed_prefix import WindowedPrefixCache
from sim.request import Request
from tests.naive_groups import NaiveGroups

SIZE = 4
MOST_TOKENS = 72
PICK = st.integers(0, 999)
PREFIXES = st.sampled_from([(), (("a", 4),), (("a", 9),), (("a", 9), ("b", 7)), (("b", 16),), (("a", 9), ("c", 40))])
SHAPES = st.builds(Groups, st.integers(0, 2), st.integers(1, 3), st.sampled_from([2, 5, 6, 9, 13, 20]))


class WindowedMachine(RuleBasedStateMachine):
    """A scheduler's calls: running requests first, in order of admission, then newcomers."""

    caching = False

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.outside: list[Request] = []
        self.alone: list[Request] = []
        self.joined: list[Request] = []

    @initialize(
        groups=SHAPES,
        pool=st.integers(1, 4),
        pipelined=st.booleans(),
        dense=st.booleans(),
        first=st.lists(st.tuples(PREFIXES, st.integers(0, 30)), min_size=2, max_size=6),
    )
    def start(
        self,
        groups: Groups,
        pool: int,
        pipelined: bool,
        dense: bool,
        first: list[tuple[tuple[tuple[str, int], ...], int]],
    ) -> None:
        self.groups = groups
        self.most_kept = groups.most_kept(SIZE, 2 * MOST_TOKENS, MOST_TOKENS)
        blocks = 1 + pool * groups.blocks(SIZE, MOST_TOKENS, self.most_kept)
        kept = self.most_kept
        if self.caching:
            self.cache: WindowedCache = WindowedPrefixCache(blocks, SIZE, groups, kept, pipelined, dense)
        else:
            self.cache = WindowedCache(blocks, SIZE, groups, kept, pipelined)
        self.naive = NaiveGroups(blocks, SIZE, groups, pipelined, self.caching, dense)
        for prefix, tail in first:
            self.arrive(prefix, tail, None)

    @rule(prefix=PREFIXES, tail=st.integers(0, 30), own=st.sampled_from([None, None, "talk"]))
    def arrive(self, prefix: tuple[tuple[str, int], ...], tail: int, own: str | None) -> None:
        if own in {request.own for request in (*self.outside, *self.alone, *self.joined)}:
            own = None  # a conversation asks its next question once it has the last answer
        self.count += 1
        prompt = max(1, sum(length for _, length in prefix) + tail)
        self.outside.append(Request(self.count, min(prompt, MOST_TOKENS - 1), 50, prefix=prefix, own=own))

    # -- calls

    @rule(
        admitted=st.lists(st.tuples(PICK, st.integers(1, 50)), max_size=3),
        chunks=st.lists(st.integers(0, 30), max_size=4),
    )
    def call(self, admitted: list[tuple[int, int]], chunks: list[int]) -> None:
        """Everyone is asked: who finds no block goes outside again."""
        if chunks or not self.cache.step():
            self._one_by_one(chunks)
        else:
            self._naive_step()
        for pick, chunk in admitted:
            if self.outside:
                self._admit(pick, chunk)
        self.naive.call += 1

    def _one_by_one(self, chunks: list[int]) -> None:
        chunk_of = dict(zip(self.alone, chunks, strict=False))
        complete: list[Request] = []
        for request in sorted([*self.joined, *self.alone], key=lambda request: request.order):
            computed = self.naive.held[request].computed
            if request in self.joined:
                served = self.naive.serve(request, computed + 1)
                assert served == (not self.cache.crosses(request) or self.cache.grant(request))
            else:
                tokens = min(request.known_tokens, computed + chunk_of.get(request, 0))
                if tokens == computed:
                    continue
                served = self.naive.serve(request, tokens)
                assert served == self.cache.grow(request, tokens)
                if served and tokens == request.known_tokens:
                    complete.append(request)
            if not served:
                self._push_out(request)
        self.cache.advance(1)
        for request in complete:
            self.alone.remove(request)
            self._join(request)

    def _admit(self, pick: int, chunk: int) -> None:
        request = self.outside[pick % len(self.outside)]
        known = request.known_tokens
        cached = self.cache.cached_tokens(request, known)
        assert cached == self.naive.find(request, known)[0] * SIZE
        reached = min(known, cached + chunk)
        for whole in (known, reached):
            fits = self.naive.fits(request, reached, whole, self.most_kept, 1)
            assert self.cache.admits(request, cached, reached, whole, 1) == fits
        if not self.naive.fits(request, reached, known, self.most_kept, 1):
            return
        self.outside.remove(request)
        self.count += 1
        request.order = self.count
        self.cache.admit(request, cached, reached)
        self.naive.admit(request, reached)
        if reached == known:
            self._join(request)
        else:
            self.alone.append(request)

    def _join(self, request: Request) -> None:
        self.cache.join(request, request.known_tokens)
        self.joined.append(request)

    def _push_out(self, request: Request) -> None:
        """Release; the request comes back with what it has generated."""
        computed = self.naive.held[request].computed
        (self.joined if request in self.joined else self.alone).remove(request)
        self.cache.release(request)
        self.naive.release(request)
        request.generated = max(request.generated, computed - request.prompt_tokens + 1)
        request.preemptions += 1
        if request.known_tokens < MOST_TOKENS:
            self.outside.append(request)

    def _naive_step(self) -> None:
        for request in sorted(self.joined, key=lambda request: request.order):
            assert self.naive.serve(request, self.naive.held[request].computed + 1)

    @rule(wanted=st.integers(1, 25))
    def stride(self, wanted: int) -> None:
        """Several calls in which nothing happens but that everyone in lockstep gains a token."""
        free = self.cache.free_blocks
        steps, level = self.cache.steps_until_change(wanted), self.cache.steps_without_more_room(wanted)
        for step in range(steps):
            self._naive_step()
            self.naive.call += 1
            if step < level:
                assert len(self.naive.line) <= free
        self.cache.advance(steps)
        if steps == 0:
            assert self.cache.short or self.caching

    @precondition(lambda self: self.joined)
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        """The budget ended before its turn: a call in which it gets nothing."""
        request = self.joined.pop(pick % len(self.joined))
        self.cache.leave(request)
        request.generated = self.naive.held[request].computed - request.prompt_tokens + 1
        self.alone.append(request)
        self.call([], [])

    @precondition(lambda self: self.alone or self.joined)
    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        everyone = [*self.alone, *self.joined]
        self._push_out(everyone[pick % len(everyone)])

    @invariant()
    def same_blocks(self) -> None:
        if not hasattr(self, "cache"):
            return
        self.cache.check()
        assert self.cache.free_blocks == len(self.naive.line)
        for request, holding in self.naive.held.items():
            held = sum(block is not None for blocks in holding.blocks for block in blocks)
            assert self.cache.held_blocks(request) == held
        usage = self.cache.usage()
        assert sum(usage) == self.cache.capacity_tokens
        assert min(usage) >= 0


class WindowedPrefixMachine(WindowedMachine):
    """The same life with content that is remembered."""

    caching = True


TestWindowedCacheEqualsNaiveGroups = WindowedMachine.TestCase
TestWindowedPrefixCacheEqualsNaiveGroups = WindowedPrefixMachine.TestCase

_often = settings(max_examples=4 * settings().max_examples, stateful_step_count=30)
TestWindowedCacheEqualsNaiveGroups.settings = _often
TestWindowedPrefixCacheEqualsNaiveGroups.settings = _often
