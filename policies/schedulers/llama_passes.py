"""What the passes of a llama.cpp step read: every row its stream's cells up to the span, masked ones included."""

from itertools import accumulate

from policies.caches.slots import SlotCache, padded
from policies.caches.unified import UnifiedCache
from policies.schedulers.ubatches import equal_passes, first_passes, plain_passes
from sim.batch import Pass, Piece, quick_pass


def one_pass(decodes: int, prompt: int, outputs: int, span: int) -> Pass:
    """A pass whose rows all read `span` cells."""
    return quick_pass((decodes, decodes * span, 0, prompt, prompt * span, outputs, decodes + prompt))


class SeparateStreams:
    """Every slot has a stream: a pass reads up to the span of its longest lane, as filled by then."""

    def __init__(self, cache: SlotCache, n_ubatch: int) -> None:
        self._cache = cache
        self._n_ubatch = n_ubatch
        self._rows: list[int] = []  # of each pass while all slots generate

    def make_room(self, tokens: int, idle: list[int]) -> bool:
        """Verb: cells for the tokens of a step, which separate lanes never lack."""
        return True

    def decodes(self, generating: list[int]) -> tuple[Pass, ...]:
        """A token for every generating slot, its cell already taken."""
        cache = self._cache
        if cache.peaks is None:
            together = first_passes(tuple(generating), ())
            cache.read_together([(first, stop) for first, stop, _ in together])
            self._rows = [stop - first for first, stop, _ in together]
        return tuple([one_pass(rows, 0, rows, span) for rows, span in zip(self._rows, cache.spans(), strict=True)])

    def mixed(self, generating: list[int], slots: list[int], pieces: list[Piece]) -> tuple[Pass, ...]:
        """Prompts, each of its slot, beside a token for every generating slot; no cell is taken yet."""
        if len(pieces) == 1 and pieces[0].tokens > len(generating):
            return self._beside_one(tuple(generating), slots[0], pieces[0])
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

    def _beside_one(self, generating: tuple[int, ...], slot: int, piece: Piece) -> tuple[Pass, ...]:
        """The commonest step: one prompt, longer than the generating slots are many."""
        _, rest, filled, ends, _ = piece
        longest, n_ubatch = self._cache.longest, self._n_ubatch
        passes: list[Pass] = []
        for first, stop, prompts in first_passes(generating, (slot,)):
            span = padded(longest(first, stop) + 1)
            if prompts:
                rest -= 1
                filled += 1
                span = max(span, padded(filled))
            decodes = stop - first - prompts
            passes.append(one_pass(decodes, prompts, decodes, span))
        while rest:
            tokens = min(n_ubatch, rest)
            filled += tokens
            rest -= tokens
            passes.append(one_pass(0, tokens, ends and not rest, padded(filled)))
        return tuple(passes)


class SharedStream:
    """One stream for all slots: every row reads the whole pool's span."""

    def __init__(self, cache: UnifiedCache, n_batch: int, n_ubatch: int) -> None:
        self._cache = cache
        self._n_batch, self._n_ubatch = n_batch, n_ubatch

    def make_room(self, tokens: int, idle: list[int]) -> bool:
        """Verb: clear idle slots one by one, the lowest number first, until the tokens find free cells."""
        cache = self._cache
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
        return tuple([one_pass(rows, 0, rows, span) for rows in plain_passes(len(generating), self._n_ubatch)])

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
