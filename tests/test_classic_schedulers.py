"""What one request at a time, static batches, Orca, Sarathi and shortest-job-first promise."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.caches.reserved import ReservedCache
from policies.schedulers.fcfs import Fcfs
from policies.schedulers.orca import Orca
from policies.schedulers.sarathi import Sarathi
from policies.schedulers.sjf import Sjf
from policies.schedulers.static_batch import StaticBatch
from sim.core import Core
from sim.errors import PolicyError, UsageError
from sim.prediction import predicted_output
from sim.request import End, Request
from tests.driver import BLOCK, LONGEST, POLICIES, Ask, Walk, paged, reserved, run, walk

RESERVING = [name for name in POLICIES if name.startswith(("static_batch", "orca", "sjf"))]
IN_ORDER = [name for name in POLICIES if name.startswith(("fcfs", "static_batch", "orca", "sarathi"))]
CLASSIC = [*IN_ORDER, *(name for name in POLICIES if name.startswith("sjf"))]
PLACES = {"fcfs": 1, "static_batch": 3, "orca": 4, "sarathi": 4, "sarathi, tiny chunk": 128, "sjf": 4}
CHUNKS = {"sarathi": 8, "sarathi, tiny chunk": 2}


def places(policy: str) -> int:
    """Requests that the policy may run at once."""
    return PLACES.get(policy) or PLACES[policy.partition(",")[0].partition(" ")[0]]


@st.composite
def served_asks(draw: st.DrawFn) -> list[Ask]:
    """Requests that fit the model's length; `at_ps` counts steps."""
    asks = []
    for _ in range(draw(st.integers(1, 10))):
        prompt = draw(st.integers(1, LONGEST - 1))
        limit = draw(st.integers(1, LONGEST - prompt))
        asks.append(Ask(draw(st.integers(0, 15)), prompt, draw(st.integers(1, limit)), limit))
    return asks


memories = st.integers(LONGEST, 3 * LONGEST)
for_every_policy = pytest.mark.parametrize("policy", CLASSIC)


def tokens_of(walked: Walk) -> Counter[int]:
    """Tokens scheduled for each request over the whole run."""
    total: Counter[int] = Counter()
    for decision in walked.decisions:
        total.update(decision.decodes)
        total.update({number: tokens for number, tokens, *_ in decision.pieces})
    return total


# -- every policy


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_every_request_ends_exactly_once_and_leaves_nothing_behind(policy: str, asks: list[Ask], memory: int) -> None:
    core = POLICIES[policy](memory)
    walked = walk(core, asks)
    assert Counter(number for decision in walked.decisions for number in decision.finished) == Counter(range(len(asks)))
    for ask, request in zip(asks, walked.requests, strict=True):
        assert request.end is (End.LENGTH if ask.output == ask.limit else End.FINISHED)
        assert request.generated == ask.output
    assert core.scheduler.waiting_count == core.scheduler.running_count == core.decoding.count == 0
    usage = core.cache.usage()
    assert usage.used == usage.reserved == usage.internal == 0


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_nobody_is_scheduled_twice_in_one_step(policy: str, asks: list[Ask], memory: int) -> None:
    for decision in walk(POLICIES[policy](memory), asks).decisions:
        assert len(set(decision.scheduled)) == len(decision.scheduled)


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_places_are_never_exceeded(policy: str, asks: list[Ask], memory: int) -> None:
    for decision in walk(POLICIES[policy](memory), asks).decisions:
        assert len(decision.scheduled) <= decision.running <= places(policy)


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_each_token_is_computed_once_unless_its_request_was_pushed_out(
    policy: str, asks: list[Ask], memory: int
) -> None:
    walked = walk(POLICIES[policy](memory), asks)
    scheduled = tokens_of(walked)
    for number, (ask, request) in enumerate(zip(asks, walked.requests, strict=True)):
        once = ask.prompt + ask.output - 1
        if request.preemptions:
            assert scheduled[number] > once
        else:
            assert scheduled[number] == once


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_progress_is_lost_only_by_being_pushed_out(policy: str, asks: list[Ask], memory: int) -> None:
    walked = Walk(POLICIES[policy](memory), asks)
    before: dict[int, int] = {}
    for decision in walked.steps():
        for number, request in enumerate(walked.requests):
            computed = walked.core.decoding.context_of(request)
            assert computed >= before.get(number, 0) or number in decision.preempted
            before[number] = computed


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_while_anybody_is_left_every_step_computes_something(policy: str, asks: list[Ask], memory: int) -> None:
    asks = [replace(ask, at_ps=0) for ask in asks]
    walked = walk(POLICIES[policy](memory), asks)
    assert all(decision.scheduled for decision in walked.decisions)
    assert all(request.end is not None for request in walked.requests)


@for_every_policy
@given(asks=served_asks(), memory=memories)
def test_the_same_load_gives_the_same_decisions(policy: str, asks: list[Ask], memory: int) -> None:
    assert walk(POLICIES[policy](memory), asks).decisions == walk(POLICIES[policy](memory), asks).decisions


@for_every_policy
@given(asks=served_asks(), memory=memories, more=st.lists(st.integers(0, 8), min_size=10, max_size=10))
def test_the_true_output_length_is_invisible_until_somebody_ends(
    policy: str, asks: list[Ask], memory: int, more: list[int]
) -> None:
    if POLICIES[policy](memory).scheduler.clairvoyant:
        return
    longer = [
        replace(ask, output=min(ask.output + extra, ask.limit or 0)) for ask, extra in zip(asks, more, strict=False)
    ]
    short, long = (walk(POLICIES[policy](memory), load).decisions for load in (asks, longer))
    first_end = next(index for index, decision in enumerate(short) if decision.finished)
    assert short[:first_end] == long[:first_end]
    assert replace(short[first_end], finished=()) == replace(long[first_end], finished=())


def test_who_reads_the_true_output_length_says_so() -> None:
    clairvoyant = {policy for policy in CLASSIC if POLICIES[policy](LONGEST).scheduler.clairvoyant}
    assert clairvoyant == {"orca, pow2", "orca, oracle", "sjf", "sjf, noise"}


@for_every_policy
def test_a_prompt_without_room_for_an_answer_is_refused(policy: str) -> None:
    walked = walk(POLICIES[policy](2 * LONGEST), [Ask(0, LONGEST, 1), Ask(0, LONGEST - 1, 1)])
    assert walked.rejected == [0]
    assert [request.end for request in walked.requests] == [End.REJECTED, End.LENGTH]


@for_every_policy
def test_an_answer_is_cut_where_the_context_ends(policy: str) -> None:
    walked = walk(POLICIES[policy](2 * LONGEST), [Ask(0, 20, 100)])
    assert walked.requests[0].generated == LONGEST - 20
    assert walked.requests[0].end is End.LENGTH


@for_every_policy
def test_a_client_that_leaves_frees_its_place_and_memory(policy: str) -> None:
    core = POLICIES[policy](2 * LONGEST)
    requests = [Request(number, 6, 4) for number in range(8)]
    for request in requests:
        core.submit(request)
    batch = core.schedule()
    assert batch is not None
    core.complete(batch)
    for request in requests:
        core.abort(request, End.ABORTED)
        core.cache.check()
    assert core.scheduler.running_count == core.scheduler.waiting_count == core.decoding.count == 0
    assert core.cache.usage().used == core.cache.usage().reserved == 0
    assert core.schedule() is None


# -- the order of admission


@pytest.mark.parametrize("policy", IN_ORDER)
@given(asks=served_asks(), memory=memories)
def test_nobody_overtakes_in_first_admission(policy: str, asks: list[Ask], memory: int) -> None:
    walked = walk(POLICIES[policy](memory), asks)
    admitted = [number for decision in walked.decisions for number in decision.admitted]
    assert admitted == sorted(range(len(asks)), key=lambda number: (asks[number].at_ps, number))


@pytest.mark.parametrize("policy", IN_ORDER)
def test_a_head_that_does_not_fit_holds_everybody_back(policy: str) -> None:
    core = POLICIES[policy](LONGEST + 8)
    asks = [Ask(0, 16, 12, 12), Ask(1, 28, 1, 4), Ask(1, 1, 1, 1)]
    admitted = {number: step for step, d in enumerate(walk(core, asks).decisions) for number in d.admitted}
    assert admitted[0] < admitted[1] <= admitted[2]
    assert admitted[1] > 4, "memory for the second comes only when the first ends"


# -- reserved memory


@pytest.mark.parametrize("policy", RESERVING)
@given(asks=served_asks(), memory=memories)
def test_reservations_fit_the_memory_and_nobody_is_pushed_out(policy: str, asks: list[Ask], memory: int) -> None:
    walked = Walk(POLICIES[policy](memory), asks)
    cache = walked.core.cache
    assert isinstance(cache, ReservedCache)
    for decision in walked.steps():
        assert sum(map(cache.reserved_tokens, walked.requests)) + cache.free_tokens == memory
        assert not decision.preempted


@pytest.mark.parametrize(
    ("reserve", "cells"), [("max", LONGEST), ("limit", 5 + 14), ("pow2", 5 + 8), ("oracle", 5 + 6)]
)
def test_orca_reserves_what_its_variant_says(reserve: str, cells: int) -> None:
    core = Core(Orca(reserve=reserve), reserved(2 * LONGEST))
    request = Request(0, 5, 6, limit=14)
    core.submit(request)
    core.schedule()
    assert isinstance(core.cache, ReservedCache)
    assert core.cache.reserved_tokens(request) == cells


def test_waste_is_told_apart() -> None:
    cache = ReservedCache(100, max_model_len=32)
    first, second, third = (Request(number, 4, 2, limit=10) for number in range(3))
    assert cache.reserve(first, 32)
    assert cache.reserve(second, 32)
    assert cache.reserve(third, 20)
    assert not cache.reserve(Request(3, 1, 1), 17), "16 cells are left"
    cache.grow(first, 4)
    cache.join(first, 4)
    cache.advance(3)
    # used: 7 of the first; kept: 14 each less 7; the rest of the reservations is beyond the limits
    assert cache.usage() == (7, 3 * 14 - 7, 84 - 3 * 14, 16, 0)
    cache.release(second)
    assert cache.usage() == (7, 2 * 14 - 7, 52 - 2 * 14, 16, 32)
    cache.close(first)
    assert cache.usage() == (7, 14, 52 - 7 - 14, 16, 32)
    cache.check()


def test_free_cells_apart_hold_no_request_that_needs_them_together() -> None:
    together, scattered = (ReservedCache(64, max_model_len=40, contiguous=contiguous) for contiguous in (True, False))
    for cache in (together, scattered):
        requests = [Request(number, 1, 1) for number in range(4)]
        assert all(cache.reserve(request, 16) for request in requests)
        cache.release(requests[0])
        cache.release(requests[2])
        cache.check()
    assert not together.room_for(17)
    assert together.room_for(16)
    assert scattered.room_for(32)


def test_a_request_that_outgrows_its_reservation_is_an_error() -> None:
    cache = ReservedCache(64, max_model_len=32)
    request = Request(0, 4, 4)
    assert cache.reserve(request, 6)
    assert not cache.grow(request, 7)
    cache.join(request, 4)
    cache.advance(3)
    with pytest.raises(PolicyError, match="reserved 6 cells and filled 7"):
        cache.release(request)


def test_memory_for_less_than_one_request_is_an_error() -> None:
    with pytest.raises(PolicyError, match="cannot hold one request"):
        ReservedCache(31, max_model_len=32)


# -- one at a time, static batches


def test_requests_run_one_after_another() -> None:
    core = Core(Fcfs(max_model_len=LONGEST), paged(3 * LONGEST))
    walked = walk(core, [Ask(0, 4, 3), Ask(0, 5, 2)])
    assert [decision.scheduled for decision in walked.decisions] == [[0], [0], [0], [1], [1]]


def test_a_batch_admits_nobody_until_its_last_request_has_ended() -> None:
    core = Core(StaticBatch(max_batch_size=2), reserved(3 * LONGEST))
    walked = walk(core, [Ask(0, 4, 5), Ask(0, 4, 2), Ask(0, 4, 1)])
    assert [decision.scheduled for decision in walked.decisions] == [[0, 1], [0, 1], [0], [0], [0], [2]]


def test_a_padded_batch_goes_on_computing_finished_rows() -> None:
    asks = [Ask(0, 4, 5), Ask(0, 6, 2)]
    walked = walk(Core(StaticBatch(pad_finished=True), reserved(3 * LONGEST)), asks)
    assert [decision.wasted for decision in walked.decisions] == [0, 0, 1, 1, 1]
    core = Core(StaticBatch(pad_finished=True), reserved(3 * LONGEST))
    for number, ask in enumerate(asks):
        core.submit(ask.request(number, 0))
    passes = []
    while batch := core.schedule():
        passes.append(batch.passes[0])
        core.complete(batch)
    # The finished row has filled 7 cells; the other one reads 7, 8 and 9 - 1 more every step.
    assert [(one.decodes, one.cells, one.growth) for one in passes[2:]] == [(2, 13, 1), (2, 14, 1), (2, 15, 1)]


def test_finished_rows_hold_their_memory_until_the_batch_is_over() -> None:
    core = Core(StaticBatch(), reserved(3 * LONGEST))
    walked = Walk(core, [Ask(0, 4, 5), Ask(0, 4, 2)])
    held = [sum(core.cache.usage()[:3]) for _ in walked.steps()]
    assert held == [2 * LONGEST] * 4 + [0]


# -- Sarathi


@pytest.mark.parametrize("policy", CHUNKS)
@given(asks=served_asks(), memory=memories)
def test_a_step_computes_no_more_than_its_chunk_and_all_its_decodes(policy: str, asks: list[Ask], memory: int) -> None:
    for decision in walk(POLICIES[policy](memory), asks).decisions:
        prompt = sum(piece[1] for piece in decision.pieces)
        assert prompt <= max(0, CHUNKS[policy] - len(decision.decodes))


def test_no_decode_waits_for_a_prompt() -> None:
    core = Core(Sarathi(chunk_size=4, max_model_len=LONGEST), paged(3 * LONGEST))
    walked = walk(core, [Ask(0, 2, 10), Ask(1, 20, 1)])
    assert [decision.decodes for decision in walked.decisions[1:9]] == [(0,)] * 8
    assert [piece[1] for decision in walked.decisions[1:] for piece in decision.pieces] == [3] * 6 + [2]


def test_a_prompt_takes_all_its_blocks_when_it_is_admitted() -> None:
    core = Core(Sarathi(chunk_size=4, max_model_len=LONGEST), paged(LONGEST))
    core.submit(Request(0, 20, 2))
    core.schedule()
    assert core.cache.usage().free == LONGEST - 20


def test_the_last_admitted_gives_way_and_comes_back_first() -> None:
    # Both prompts end on a block boundary and fill the memory: the first decode of the first pushes the second out.
    core = Core(Sarathi(chunk_size=64, max_model_len=LONGEST), paged(8 * BLOCK))
    walked = walk(core, [Ask(0, 16, 5), Ask(0, 16, 3), Ask(0, 1, 1)])
    second = walked.decisions[1]
    assert (second.decodes, second.preempted, second.pieces) == ((0,), (1,), ())
    pieces = [piece for decision in walked.decisions[2:] for piece in decision.pieces]
    assert [(piece[0], piece[1], piece[4]) for piece in pieces] == [(1, 17, "resumed"), (2, 1, "new")]


# -- shortest job first


def test_the_shortest_waiting_request_is_admitted_next() -> None:
    core = Core(Sjf(max_batch_size=1), reserved(LONGEST))
    walked = walk(core, [Ask(0, 2, output) for output in (9, 3, 7, 3)])
    assert [number for decision in walked.decisions for number in decision.admitted] == [1, 3, 2, 0]


def test_a_shorter_newcomer_does_not_interrupt() -> None:
    walked = walk(Core(Sjf(max_batch_size=1), reserved(LONGEST)), [Ask(0, 2, 9), Ask(3, 2, 1)])
    assert [decision.scheduled for decision in walked.decisions] == [[0]] * 9 + [[1]]


def test_predictions_have_the_stated_error() -> None:
    errors = sorted(predicted_output(Request(number, 1, 10**6), noise=0.5) / 10**6 for number in range(4000))
    low, median, high = (errors[int(4000 * share)] for share in (0.1587, 0.5, 0.8413))
    assert median == pytest.approx(1, rel=0.05)
    assert low == pytest.approx(2.718281828**-0.5, rel=0.05)
    assert high == pytest.approx(2.718281828**0.5, rel=0.05)


def test_a_prediction_depends_on_seed_and_number_alone() -> None:
    request = Request(7, 10, 300)
    guess = predicted_output(request, 0.4, seed=1)
    request.prompt_tokens, request.arrival_ps = 99, 5
    assert predicted_output(request, 0.4, seed=1) == guess
    assert predicted_output(request, 0.4, seed=2) != guess
    assert predicted_output(request) == 300


def test_sjf_with_exact_predictions_shortens_the_mean_wait() -> None:
    users = [[Ask(0, 1 + number % 7, 1 + number * 5 % 19)] for number in range(20)]

    def mean_end(core: Core) -> float:
        return sum(run(lambda: core, users=users).requests["end_ps"]) / len(users)

    sjf = mean_end(Core(Sjf(max_batch_size=1), reserved(LONGEST)))
    guessing = mean_end(Core(Sjf(max_batch_size=1, noise=0.5), reserved(LONGEST)))
    fcfs = mean_end(Core(Fcfs(max_model_len=LONGEST), paged(LONGEST)))
    assert sjf < guessing < fcfs


@pytest.mark.parametrize("options", [{"reserve": "half"}, {"max_batch_size": 0}])
def test_an_option_without_meaning_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Orca(**options)  # type: ignore[arg-type]
