"""What llama.cpp's passes read, against a recount row by row; and how long the spans of slots stay as they are."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from policies.caches.slots import SPAN_STEP, SlotCache, padded
from policies.schedulers.llama_passes import SeparateStreams
from policies.schedulers.ubatches import equal_passes
from sim.batch import Pass, Piece
from sim.request import Request

LANE = 2048
SLOTS = 6


@st.composite
def steps(draw: st.DrawFn) -> tuple[dict[int, int], dict[int, Piece]]:
    """Contexts of slots that generate, and pieces of prompts in others."""
    order = draw(st.permutations(range(SLOTS)))
    generating = order[: draw(st.integers(0, SLOTS - 1))]
    prompting = order[len(generating) :][: draw(st.integers(1, SLOTS))]
    contexts = {slot: draw(st.integers(1, LANE - 1)) for slot in sorted(generating)}
    pieces = {}
    for slot in sorted(prompting):
        tokens, context = draw(st.integers(1, 700)), draw(st.integers(0, 1000))
        request = Request(slot, context + tokens, 4)
        pieces[slot] = Piece(request, tokens, context, ends=draw(st.booleans()))
    return contexts, pieces


def cache_of(contexts: dict[int, int]) -> SlotCache:
    """Slots that hold so many tokens and generate."""
    cache = SlotCache(SLOTS, LANE)
    for slot, tokens in contexts.items():
        request = Request(slot, tokens, LANE)
        cache.place(request, slot, 0)
        cache.grow(request, tokens)
        cache.join(request, tokens)
    return cache


def recount(contexts: dict[int, int], pieces: dict[int, Piece], n_ubatch: int) -> list[Pass]:
    """Pass by pass: every row reads the padded longest lane among the slots of its pass, as filled by then."""
    held = dict(contexts) | {slot: piece.context for slot, piece in pieces.items()}
    prompts = [(slot, piece.tokens) for slot, piece in pieces.items()]
    passes = []
    for together, tokens in equal_passes(tuple(contexts), prompts, n_ubatch):
        for slot in together:
            held[slot] += tokens
        span = padded(max(held[slot] for slot in together))
        decodes = sum(slot in contexts for slot in together)
        prompt = tokens * (len(together) - decodes)
        ended = [slot for slot in together if slot in pieces and pieces[slot].ends]
        outputs = sum(held[slot] == pieces[slot].context + pieces[slot].tokens for slot in ended)
        passes.append(Pass(decodes, decodes * span, 0, prompt, prompt * span, decodes + outputs, decodes + prompt))
    return passes


@given(steps(), st.sampled_from([16, 64, 512]))
def test_prompts_beside_generating_slots_read_what_a_recount_says(
    step: tuple[dict[int, int], dict[int, Piece]], n_ubatch: int
) -> None:
    contexts, pieces = step
    streams = SeparateStreams(cache_of(contexts), n_ubatch)
    assert list(streams.mixed([*contexts], [*pieces], [*pieces.values()])) == recount(contexts, pieces, n_ubatch)


@given(st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, LANE - 1), min_size=1))
def test_generating_slots_read_the_longest_lane_of_those_side_by_side(contexts: dict[int, int]) -> None:
    ordered = dict(sorted(contexts.items()))
    cache = cache_of(ordered)
    cache.advance(1)  # its cell is taken already
    assert list(SeparateStreams(cache, 512).decodes([*ordered])) == recount(ordered, {}, 512)


def spans_of(cache: SlotCache, slots: Sequence[int]) -> list[int]:
    return cache.spans([(slot, slot + 1) for slot in slots])


@given(st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, 900), min_size=1), st.integers(1, 1000), st.booleans())
def test_spans_stay_for_as_many_steps_as_are_said_and_change_with_the_next(
    contexts: dict[int, int], limit: int, asked_before: bool
) -> None:
    cache, slots = cache_of(contexts), sorted(contexts)
    before = spans_of(cache, slots)
    if not asked_before:
        cache = cache_of(contexts)  # it says so of every slot by itself
    steady = cache.steps_until_change(limit)
    nearest = min(-tokens % SPAN_STEP for tokens in contexts.values())
    assert steady == min(limit, nearest)
    cache.advance(steady)
    assert spans_of(cache, slots) == before
    if steady < limit:
        cache.advance(1)
        assert spans_of(cache, slots) != before
