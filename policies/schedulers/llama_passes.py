"""What the passes of a llama.cpp step read: every row its stream's cells up to the span, masked ones included."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from policies.caches.slots import SlotCache, padded
from policies.caches.unified import UnifiedCache
from policies.schedulers.ubatches import Rows, equal_passes, first_passes, plain_passes
from sim.batch import Pass, Piece


def one_pass(decodes: int, prompt: int, outputs: int, span: int) -> Pass:
    """A pass whose rows all read `span` cells."""
    return Pass(decodes, decodes * span, 0, prompt, prompt * span, outputs, decodes + prompt)


usual_pass = lru_cache(maxsize=None)(one_pass)  # for the few there are of a row or a full ubatch a slot


@lru_cache(maxsize=1 << 14)
def row_passes(rows: tuple[Rows, ...], spans: tuple[int, ...], filled: int = 0) -> tuple[Pass, ...]:
    """Passes of a row a slot, those of a prompt behind `filled` cells of its own among them."""
    passes: list[Pass] = []
    for (decodes, prompts), span in zip(rows, spans, strict=True):
        filled += prompts
        passes.append(one_pass(decodes, prompts, decodes, max(span, padded(filled)) if prompts else span))
    return tuple(passes)


class SeparateStreams:
    """Every slot has a stream: a pass reads up to the span of its longest lane, as filled by then."""

    def __init__(self, cache: SlotCache, n_ubatch: int) -> None:
        self._cache = cache
        self._n_ubatch = n_ubatch

    def decodes(self, generating: list[int]) -> tuple[Pass, ...]:
        """A token for every generating slot, its cell already taken."""
        count = len(generating)
        if generating[-1] - generating[0] < count:  # side by side
            return (usual_pass(count, 0, count, self._cache.common_span()),)
        ranges, rows, _ = first_passes(tuple(generating), ())
        return row_passes(rows, tuple(self._cache.spans(ranges)))

    def mixed(self, generating: list[int], slots: list[int], pieces: list[Piece]) -> tuple[Pass, ...]:
        """Prompts, each of its slot, beside a token for every generating slot; no cell is taken yet."""
        if len(pieces) == 1 and pieces[0].tokens > len(generating):
            return self._beside_one(generating, slots[0], pieces[0])
        cache = self._cache
        filled = {slot: piece.context for slot, piece in zip(slots, pieces, strict=True)}
        final = {slot: one.context + one.tokens for slot, one in zip(slots, pieces, strict=True) if one.ends}
        prompts = [(slot, piece.tokens) for slot, piece in zip(slots, pieces, strict=True)]
        passes: list[Pass] = []
        for together, tokens in equal_passes(tuple(generating), prompts, self._n_ubatch):
            prompting = outputs = longest = 0
            for slot in together:
                if slot in filled:
                    reached = filled[slot] = filled[slot] + tokens
                    prompting += 1
                    outputs += final.get(slot) == reached
                else:
                    reached = cache.context(slot) + 1
                longest = max(longest, reached)
            decodes = len(together) - prompting
            passes.append(one_pass(decodes, prompting * tokens, decodes + outputs, padded(longest)))
        return tuple(passes)

    def _beside_one(self, generating: list[int], slot: int, piece: Piece) -> tuple[Pass, ...]:
        """The commonest step: one prompt, longer than the generating slots are many."""
        ranges, rows, beside = first_passes(tuple(generating), (slot,))
        passes = [*row_passes(rows, tuple(self._cache.spans(ranges, 1)), piece.context)]
        filled, rest, n_ubatch = piece.context + beside, piece.tokens - beside, self._n_ubatch
        while rest > n_ubatch:
            filled += n_ubatch
            rest -= n_ubatch
            passes.append(usual_pass(0, n_ubatch, 0, padded(filled)))
        span = padded(filled + rest)
        passes.append(Pass(0, 0, 0, rest, rest * span, int(piece.ends), rest))
        return tuple(passes)


class SharedStream:
    """One stream for all slots: every row reads the whole pool's span."""

    def __init__(self, cache: UnifiedCache, n_batch: int, n_ubatch: int) -> None:
        self._cache = cache
        self._n_batch, self._n_ubatch = n_batch, n_ubatch

    def make_room(self, decodes: int, pieces: Sequence[Piece], idle: list[int]) -> bool:
        """Verb: clear idle slots one by one, the lowest number first, until the tokens find free cells."""
        cache = self._cache
        tokens = decodes + sum([piece.tokens for piece in pieces]) if pieces else decodes
        if tokens <= cache.free_cells:
            return True
        for slot in sorted(idle):
            if cache.context(slot):
                cache.clear(slot)
                if tokens <= cache.free_cells:
                    return True
        return False

    def decodes(self, generating: list[int]) -> tuple[Pass, ...]:
        """A token for every generating slot, its cell already taken."""
        span = self._cache.span
        return tuple([usual_pass(rows, 0, rows, span) for rows in plain_passes(len(generating), self._n_ubatch)])

    def mixed(self, generating: list[int], slots: list[int], pieces: list[Piece]) -> tuple[Pass, ...]:
        """Generating slots first, then prompts; no cell is taken yet."""
        count = len(generating)
        ends = [*accumulate([piece.tokens for piece in pieces], initial=count)]
        finals = [end for end, piece in zip(ends[1:], pieces, strict=True) if piece.ends]
        passes: list[Pass] = []
        start = 0
        for tokens in plain_passes(ends[-1], self._n_ubatch):
            stop = start + tokens
            decodes = min(max(count - start, 0), tokens)
            outputs = sum([start < final <= stop for final in finals])
            passes.append(one_pass(decodes, tokens - decodes, decodes + outputs, self._cache.span_of(0, stop)))
            start = stop
        return tuple(passes)

    def futile(self, generating: int) -> tuple[Pass, ...]:
        """A batch larger than the free cells: n_batch is halved until a view fits, again and again until none does."""
        free, span = self._cache.free_cells, self._cache.capacity_tokens
        passes: list[Pass] = []
        while free:
            view = self._n_batch
            while view > free:
                view //= 2
            free -= view
            for tokens in plain_passes(view, self._n_ubatch):
                decodes = min(generating, tokens)
                generating -= decodes
                passes.append(one_pass(decodes, tokens - decodes, 0, span))
        return tuple(passes)
