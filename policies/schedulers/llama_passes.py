"""What the passes of a llama.cpp step read: every row its stream's cells up to the span, masked ones included."""

from itertools import accumulate
from typing import NamedTuple

from policies.caches.slots import SlotCache, padded
from policies.schedulers.ubatches import equal_passes, plain_passes, while_some_generate
from sim.batch import Pass


class Chunk(NamedTuple):
    """The tokens that one slot's prompt gets in a step."""

    slot: int
    tokens: int
    context: int  # tokens before them
    ends: bool


def one_pass(decodes: int, prompt: int, outputs: int, span: int) -> Pass:
    """A pass whose rows all read `span` cells."""
    # Made without the named tuple's own constructor, which costs as much again.
    return tuple.__new__(Pass, (decodes, decodes * span, 0, prompt, prompt * span, outputs, decodes + prompt))


def separate_passes(
    cache: SlotCache, generating: tuple[int, ...], chunks: list[Chunk], n_ubatch: int
) -> tuple[Pass, ...]:
    """Separate streams: a pass reads up to the span of its longest lane, as filled by then."""
    if len(chunks) == 1 and chunks[0].tokens > len(generating):
        return _passes_of_one(cache, generating, chunks[0], n_ubatch)
    filled = {slot: context for slot, _, context, _ in chunks}
    final = {slot: context + tokens for slot, tokens, context, ends in chunks if ends}
    passes: list[Pass] = []
    for slots, tokens in equal_passes(generating, [(slot, tokens) for slot, tokens, _, _ in chunks], n_ubatch):
        prompts = outputs = longest = 0
        for slot in slots:
            if slot in filled:
                reached = filled[slot] = filled[slot] + tokens
                prompts += 1
                outputs += final.get(slot) == reached
            else:
                reached = cache.context(slot) + 1
            longest = max(longest, reached)
        decodes = len(slots) - prompts
        passes.append(one_pass(decodes, prompts * tokens, decodes + outputs, cache.span_of(longest, 0)))
    return tuple(passes)


def _passes_of_one(cache: SlotCache, generating: tuple[int, ...], chunk: Chunk, n_ubatch: int) -> tuple[Pass, ...]:
    """The commonest step: one prompt, longer than the generating slots are many, beside them."""
    slot, rest, filled, ends = chunk
    passes: list[Pass] = []
    for slots in while_some_generate(generating, (slot,)):
        prompt = slots[-1] == slot
        rest -= prompt
        decodes = len(slots) - prompt
        passes.append(one_pass(decodes, prompt, decodes, padded(cache.longest(slots) + 1)))
    filled += chunk.tokens - rest
    while rest:
        tokens = min(rest, n_ubatch)
        filled += tokens
        rest -= tokens
        passes.append(one_pass(0, tokens, ends and not rest, padded(filled)))
    return tuple(passes)


def shared_passes(cache: SlotCache, generating: int, chunks: list[Chunk], n_ubatch: int) -> tuple[Pass, ...]:
    """One stream: generating slots come first, and every row reads the whole pool's span."""
    ends = [*accumulate([tokens for _, tokens, _, _ in chunks], initial=generating)][1:]
    finals = [end for end, chunk in zip(ends, chunks, strict=True) if chunk.ends]
    passes: list[Pass] = []
    start = 0
    for tokens in plain_passes(ends[-1] if ends else generating, n_ubatch):
        stop = start + tokens
        decodes = min(max(generating - start, 0), tokens)
        outputs = sum([start < final <= stop for final in finals])
        passes.append(one_pass(decodes, tokens - decodes, decodes + outputs, cache.span_of(0, stop)))
        start = stop
    return tuple(passes)


def futile_passes(generating: int, free: int, n_batch: int, n_ubatch: int, span: int) -> tuple[Pass, ...]:
    """A batch larger than the free cells: n_batch is halved until a view fits, again and again until none does."""
    passes: list[Pass] = []
    while free:
        view = n_batch
        while view > free:
            view //= 2
        free -= view
        for tokens in plain_passes(view, n_ubatch):
            decodes = min(generating, tokens)
            generating -= decodes
            passes.append(one_pass(decodes, tokens - decodes, 0, span))
    return tuple(passes)
