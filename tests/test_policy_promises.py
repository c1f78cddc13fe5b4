"""What the policies' parts promise each by itself, where a whole run would hide a broken promise."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.caches.content import UNBOUNDED, Contents
from policies.caches.ollama_cells import OllamaCells
from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.caches.reserved import ReservedCache
from policies.caches.slots import SlotCache
from policies.routers.round_robin import RoundRobin
from policies.schedulers.llama_runner import LlamaRunner
from policies.schedulers.ollama_runner import OllamaRunner
from policies.schedulers.orca import Orca
from policies.schedulers.sjf import Sjf
from policies.schedulers.slot_shares import Share, passes
from policies.schedulers.static_batch import StaticBatch
from sim.batch import Batch
from sim.core import Core
from sim.errors import UsageError
from sim.prediction import predicted_output
from sim.replica import View
from sim.request import End, Request
from sim.scheduler import Scheduler
from tests.driver import LONGEST, POLICIES, Ask, prefixed, vllm, walk

SIZE = 4
PROMPTS = st.builds(
    lambda prefix, own: Request(0, 40, 1, prefix=tuple(prefix), own=own),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=3),
    st.sampled_from([None, None, "talk", "other"]),
)

# -- empty caches


@pytest.mark.parametrize("policy", POLICIES)
def test_of_an_empty_cache_everything_is_free(policy: str) -> None:
    cache = POLICIES[policy](3 * LONGEST).cache
    used, reserved, internal, external, free = cache.usage()
    assert (used, reserved, internal, free) == (0, 0, 0, cache.capacity_tokens)
    assert external == 0


# -- guesses


@given(st.integers(0, 500), st.integers(0, 99))
def test_a_guess_is_wrong_by_a_factor_of_its_own_and_never_below_one_token(number: int, seed: int) -> None:
    short, long = (predicted_output(Request(number, 5, output), 3.0, seed) for output in (1, 10**6))
    assert short >= 1
    assert abs(short - max(1.0, long / 10**6)) <= 0.501
    assert predicted_output(Request(number, 5, 1), 0.0, seed) == 1


# -- batches one after the other


def test_a_padded_batch_computes_no_rows_of_the_one_before() -> None:
    core = Core(StaticBatch(max_batch_size=2, pad_finished=True), ReservedCache(3 * LONGEST, LONGEST))
    for number in range(4):
        core.submit(Request(number, 5, 3 + 4 * (number % 2)))
    seen = []
    while (batch := core.schedule()) is not None:
        core.complete(batch)
        seen.append((batch.passes, batch.wasted))
    assert len(seen) % 2 == 0
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
    assert max(wasted for _, wasted in seen) == 1


# -- names of blocks


def shareable_tokens(request: Request) -> list[tuple[str, int]]:
    """Token by token, what other prompts may begin with too: the piece it is of and its place there."""
    pieces = [*request.prefix, *([(request.own, 40)] if request.own is not None else [])]
    return [(str(content), place) for content, tokens in pieces for place in range(tokens)]


@given(requests=st.lists(PROMPTS, min_size=2, max_size=4))
def test_two_blocks_have_one_name_exactly_if_all_tokens_up_to_their_ends_are_equal(requests: list[Request]) -> None:
    contents, named = Contents(SIZE), dict[int, list[tuple[str, int]]]()
    for request in requests:
        tokens = shareable_tokens(request)
        for number, name in enumerate(contents.keys(request, len(tokens) // SIZE)):
            beginning = tokens[: (number + 1) * SIZE]
            assert named.setdefault(name, beginning) == beginning
    assert len({tuple(beginning) for beginning in named.values()}) == len(named)


def test_what_is_unique_to_a_request_has_no_name_unless_a_later_prompt_will_repeat_it() -> None:
    contents, prefix = Contents(SIZE), (("a", 9),)
    assert contents.shareable_blocks(Request(0, 40, 1)) == 0
    assert contents.shareable_blocks(Request(0, 40, 1, prefix=prefix)) == 2
    assert contents.shareable_blocks(Request(0, 40, 1, prefix=prefix, own="talk")) == UNBOUNDED
    assert contents.keys(Request(0, 40, 1, prefix=prefix), 0) == []


# -- caches


@pytest.mark.parametrize(("unsettled", "found"), [(0, 16), (1, 12)])
def test_the_next_question_of_a_conversation_finds_the_full_blocks_of_question_and_answer(
    unsettled: int, found: int
) -> None:
    cache = PrefixCache(20, SIZE)
    first = Request(0, 6, 11, own="talk")
    cache.admit(first, 0, 6)
    cache.join(first, 6)
    cache.advance(10)
    following = Request(1, 20, 1, prefix=(("talk", 16),), own="talk again")
    assert cache.cached_tokens(following, 20) == 4
    cache.release(first, unsettled)
    assert cache.cached_tokens(following, 20) == found


def test_a_cache_without_memory_for_prompts_finds_nothing_and_a_stranger_holds_nothing() -> None:
    cache = PagedCache(20, SIZE)
    request = Request(0, 6, 1, prefix=(("a", 4),))
    assert (cache.cached_tokens(request, 6), cache.held_blocks(request)) == (0, 0)


@pytest.mark.parametrize(("num_ctx", "num_keep", "dropped"), [(16, 4, 6), (17, 4, 6), (16, 0, 8), (5, 4, 1)])
def test_a_full_slot_of_ollama_drops_half_of_what_it_need_not_keep(num_ctx: int, num_keep: int, dropped: int) -> None:
    cells = OllamaCells(1, num_ctx, num_keep)
    assert cells.discard_tokens == dropped


# -- vLLM


def test_what_a_request_found_cached_is_what_it_found_at_its_first_admission() -> None:
    walked = walk(Core(vllm(), prefixed(32)), [Ask(0, 8, 20), Ask(0, 8, 20)])
    resumed = [request for request in walked.requests if request.preemptions]
    assert any(piece[2] > 0 for decision in walked.decisions for piece in decision.pieces if piece[4] == "resumed")
    assert [request.cached_tokens for request in resumed] == [0] * len(resumed)


def test_who_pushes_out_itself_ends_the_phase_and_those_behind_it_wait_a_step() -> None:
    core = Core(vllm(policy="priority"), PagedCache(5, SIZE))
    older, younger = Request(0, 6, 9, priority=1), Request(1, 5, 9, priority=1, arrival_ps=-1)
    core.submit(older)
    first = core.schedule()
    assert first is not None
    core.complete(first)
    core.submit(younger)
    batch = first
    while not batch.preempted:
        following = core.schedule()
        assert following is not None
        core.complete(following)
        batch = following
    assert (list(batch.preempted), list(batch.paused), batch.passes) == ([older], [younger], ())
    resumed = core.schedule()
    assert resumed is not None
    assert [(piece.request, piece.tokens, piece.ends, piece.kind) for piece in resumed.pieces] == [
        (younger, 1, True, "running")
    ]


# -- every scheduler


def batches(core: Core, request: Request) -> list[Batch]:
    """All that a lone request makes the engine do."""
    core.submit(request)
    done: list[Batch] = []
    while (batch := core.schedule()) is not None:
        core.complete(batch)
        done.append(batch)
    return done


@pytest.mark.parametrize("policy", POLICIES)
def test_a_lone_request_is_computed_once_and_samples_one_token_a_pass(policy: str) -> None:
    done = batches(POLICIES[policy](2 * LONGEST), Request(0, 6, 4))
    passes = [one for batch in done for one in batch.passes]
    assert sum(one.prefill_tokens for one in passes) == 6
    assert [one.decodes for one in passes][-3:] == [1, 1, 1]
    assert [one.outputs for one in passes][-4:] == [1, 1, 1, 1]
    assert sum(one.outputs for one in passes) == 4
    assert all(one.padded >= one.decodes + one.prefill_tokens for one in passes)
    assert [piece.ends for batch in done for piece in batch.pieces][-1:] == [True]
    assert [batch.context for batch in done][-3:] == [6, 7, 8]


SPANS = ("llama", "ollama")  # their attention reads a padded span, not the context


@pytest.mark.parametrize("policy", [name for name in POLICIES if not name.startswith(SPANS)])
def test_a_lone_request_reads_its_own_context_and_no_more(policy: str) -> None:
    done = batches(POLICIES[policy](2 * LONGEST), Request(0, 6, 4))
    passes = [one for batch in done for one in batch.passes]
    assert sum(one.prefill_cells for one in passes) == 1 + 2 + 3 + 4 + 5 + 6
    assert [(one.cells, one.growth) for one in passes][-3:] == [(7, 1), (8, 1), (9, 1)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_lone_request_is_one_decision_from_its_second_token_to_its_last(policy: str) -> None:
    core = POLICIES[policy](2 * LONGEST)
    done = batches(core, Request(0, 6, 4))
    steady = [batch.steady_steps for batch in done][-3:]
    assert steady[-1] == 1
    assert all(2 <= steps <= left for steps, left in zip(steady, (3, 2), strict=False))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("limit", [1, 3])
def test_no_answer_is_longer_than_its_client_allows(policy: str, limit: int) -> None:
    request = Request(0, 6, 12, limit=limit)
    done = batches(POLICIES[policy](2 * LONGEST), request)
    assert sum(one.outputs for batch in done for one in batch.passes) == limit
    assert request.end is End.LENGTH


# -- llama.cpp's server under Ollama


def test_ollama_cuts_the_middle_out_of_a_prompt_too_long_and_leaves_half_of_the_rest() -> None:
    core = POLICIES["ollama_slots"](2 * LONGEST)
    fits = Request(0, LONGEST - 1, 50, prefix=(("a", 8),), own="talk")
    cut = Request(1, LONGEST + 9, 50, prefix=(("a", 8),), own="talk")
    assert core.submit(fits)
    assert core.submit(cut)
    assert (fits.prompt_tokens, fits.prefix, fits.own) == (LONGEST - 1, (("a", 8),), "talk")
    half = (LONGEST - 4) // 2
    assert (cut.prompt_tokens, cut.prefix, cut.own) == (LONGEST - half, (), None)
    assert fits.output_tokens == cut.output_tokens == 50


@pytest.mark.parametrize("policy", ["ollama_slots", "ollama_slots, one pool"])
@given(prompt=st.integers(1, 16), output=st.integers(1, 5 * LONGEST))
def test_with_context_shift_an_answer_goes_on_beyond_its_slot_which_halves_whenever_it_is_full(
    policy: str, prompt: int, output: int
) -> None:
    core = POLICIES[policy](LONGEST)
    core.submit(Request(0, prompt, output))
    cache = core.cache
    assert isinstance(cache, SlotCache)
    held: list[int] = []
    while (batch := core.schedule()) is not None:
        cache.check()
        held.append(cache.context(0))
        core.complete(batch)
    assert len(held) == output
    full = LONGEST - 1
    for before, after in pairwise(held):
        assert after == (full - (full - 4) // 2 if before == full else before) + 1


def test_without_context_shift_a_prompt_too_long_is_refused_and_an_answer_ends_where_its_slot_is_full() -> None:
    core = POLICIES["ollama_slots, no shift"](LONGEST)
    fits, too_long = Request(0, 20, 500), Request(1, LONGEST, 1)
    assert core.submit(fits)
    assert fits.output_tokens == LONGEST - 20
    assert core.submit(too_long)
    while (batch := core.schedule()) is not None:
        core.complete(batch)
    assert (fits.end, too_long.end) == (End.LENGTH, End.REJECTED)


def test_no_answer_under_ollama_is_longer_than_ten_contexts() -> None:
    request = Request(0, 5, 11 * LONGEST)
    POLICIES["ollama_slots"](LONGEST).submit(request)
    assert request.output_tokens == 10 * LONGEST


@pytest.mark.parametrize(
    ("reserve", "reads_the_future"), [("max", False), ("limit", False), ("pow2", True), ("oracle", True)]
)
def test_orca_says_whether_its_reservation_reads_the_true_length(reserve: str, reads_the_future: bool) -> None:
    assert Orca(reserve=reserve).clairvoyant is reads_the_future


@pytest.mark.parametrize(("output", "reserved"), [(1, 1), (7, 8), (8, 8), (9, 16)])
def test_a_power_of_two_is_reserved_as_it_is(output: int, reserved: int) -> None:
    core = POLICIES["orca, pow2"](2 * LONGEST)
    assert isinstance(core.scheduler, Orca)
    assert core.scheduler.reservation(Request(0, 6, output)) == 6 + reserved


@pytest.mark.parametrize("noise", [-1.0, float("inf"), float("nan")])
def test_an_error_of_prediction_without_meaning_is_refused(noise: float) -> None:
    with pytest.raises(UsageError, match="noise"):
        Sjf(noise=noise)


def test_the_shortest_stays_first_when_others_go_away() -> None:
    core = Core(Sjf(max_batch_size=1), ReservedCache(LONGEST, LONGEST))
    waiting = [Request(number, 2, output) for number, output in enumerate((1, 9, 2, 11, 10, 4, 3))]
    for request in waiting:
        core.submit(request)
    core.abort(waiting[0], End.ABORTED)
    ended: list[int] = []
    while (batch := core.schedule()) is not None:
        ended += [request.output_tokens for request in core.complete(batch)]
    assert ended == [2, 3, 4, 9, 10, 11]


@pytest.mark.parametrize("least", [StaticBatch, Orca, Sjf])
def test_a_batch_of_one_is_allowed_and_a_batch_of_none_is_not(least: Callable[..., Scheduler]) -> None:
    assert getattr(least(max_batch_size=1), "max_batch_size", None) == 1
    with pytest.raises(UsageError, match="max_batch_size"):
        least(max_batch_size=0)


# -- routers


def test_round_robin_starts_with_the_first_replica_and_goes_on_with_the_next() -> None:
    router, views = RoundRobin(), [View(0, 0)] * 3
    assert [router.choose(Request(number, 1, 1), views) for number in range(5)] == [0, 1, 2, 0, 1]


def test_a_decode_between_two_unfinished_prompts_takes_one_token_of_the_budget() -> None:
    core = Core(vllm(max_num_batched_tokens=8, long_prefill_token_threshold=5), PagedCache(100, SIZE))
    walked = walk(core, [Ask(0, 20, 1), Ask(0, 2, 9), Ask(0, 20, 1)])
    first, second = walked.decisions[:2]
    assert [(number, tokens) for number, tokens, *_ in first.pieces] == [(0, 5), (1, 2), (2, 1)]
    assert (second.decodes, [(number, tokens) for number, tokens, *_ in second.pieces]) == ((1,), [(0, 5), (2, 2)])


def test_shares_are_cut_into_passes_that_are_full_but_the_last_and_tell_prompts_from_decodes() -> None:
    prompt, decoding = Request(0, 8, 4), Request(1, 3, 4)
    shares = [Share(0, decoding, 1), Share(1, prompt, 7)]
    prompt.computed = 1
    done = passes(shares, 4, lambda request: request is prompt, lambda rows: 100 + rows)
    assert [(one.decodes, one.prefill_tokens, one.outputs) for one in done] == [(1, 3, 1), (0, 4, 1)]
    assert [one.padded for one in done] == [4, 4]


def test_the_newer_of_ollamas_runners_decides_ahead_and_the_older_one_does_not() -> None:
    assert OllamaRunner().pipelined
    assert not OllamaRunner(lookahead=False).pipelined
    assert not LlamaRunner().pipelined


@pytest.mark.parametrize("policy", [name for name in POLICIES if not name.startswith(SPANS)])
def test_the_cache_holds_every_token_that_a_lone_request_has_computed(policy: str) -> None:
    core = POLICIES[policy](2 * LONGEST)
    core.submit(Request(0, 6, 4))
    used: list[int] = []
    while (batch := core.schedule()) is not None:
        used.append(core.cache.usage().used)
        core.complete(batch)
    assert used[-4:] == [6, 7, 8, 9]
    assert core.cache.usage().used == 0
