"""llama.cpp's server: which slot, in which order, in how many passes, and who dies of an overrun pool."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from policies.schedulers.llama_slots import LlamaSlots
from policies.schedulers.prompt_cache import PromptCache
from sim.batch import Batch
from sim.core import Core
from sim.request import End, Request
from tests.driver import Ask, LinearCost, run


class Server:
    """A core driven step by step, with its checks after each step."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.scheduler = core.scheduler
        assert isinstance(self.scheduler, LlamaSlots)
        self.slots: LlamaSlots = self.scheduler
        self.sent = 0

    def send(self, prompt: int, output: int, prefix: tuple[tuple[str, int], ...] = (), own: str | None = None) -> int:
        """Submit a request; its number."""
        self.sent += 1
        self.core.submit(Request(self.sent, prompt, output, prefix=prefix, own=own))
        return self.sent

    def step(self) -> Batch:
        """Decide a step and complete it."""
        batch = self.core.schedule()
        assert batch is not None
        self.core.cache.check()
        self.ended = [request.id for request in self.core.complete(batch)]
        self.core.cache.check()
        return batch

    def new(self, batch: Batch) -> list[int]:
        """Requests that begin in a step, in the order of its prompts."""
        return [piece.request.id for piece in batch.pieces if piece.kind == "new"]

    def slot_of(self, number: int) -> int:
        return next(slot for request, slot in self.slots.slot_of.items() if request.id == number)

    def finish(self) -> None:
        """Run until nothing is left."""
        while self.core.scheduler.running_count + self.core.scheduler.waiting_count:
            self.step()


def split(slots: int = 4, context: int = 1024, **options: float) -> Server:
    return Server(Core(LlamaSlots(**options), SlotCache(slots, context)))  # type: ignore[arg-type]


def unified(slots: int = 4, n_ctx: int = 1024, **options: float) -> Server:
    return Server(Core(LlamaSlots(**options), UnifiedCache(slots, n_ctx)))  # type: ignore[arg-type]


# -- which slot


def test_cold_slots_are_taken_from_the_highest_and_prompts_served_from_the_lowest() -> None:
    server = split()
    numbers = [server.send(10, 5) for _ in range(4)]
    batch = server.step()
    assert [server.slot_of(number) for number in numbers] == [3, 2, 1, 0]
    assert server.new(batch) == [4, 3, 2, 1]


def test_one_user_goes_round_the_slots_least_recently_used_first() -> None:
    """As recorded: the warm-up took 3, 2, 1 and, for its prompt's sake, 3 again."""
    server = split()
    used = []
    for own in ("first", "second", "third", "first", *range(8)):
        number = server.send(16, 3, own=str(own))
        server.step()
        used.append(server.slot_of(number))
        server.finish()
    assert used == [3, 2, 1, 3, 0, 2, 1, 3, 0, 2, 1, 3]


def test_a_slot_is_chosen_for_its_content_only_above_the_similarity() -> None:
    for shared, slot in ((10, 2), (11, 3)):
        server = split()
        server.send(50, 1, prefix=(("system", shared),))
        server.finish()
        number = server.send(100, 2, prefix=(("system", shared),))
        batch = server.step()
        assert server.slot_of(number) == slot
        (piece,) = batch.pieces
        assert piece.context == (shared if slot == 3 else 0)


def test_of_a_prompt_that_is_wholly_known_the_last_token_is_computed_anew() -> None:
    server = split()
    server.send(40, 3, own="chat")
    server.finish()
    server.send(40, 3, own="chat")
    batch = server.step()
    (piece,) = batch.pieces
    assert (piece.tokens, piece.context, piece.request.cached_tokens) == (1, 39, 39)


def test_without_cache_prompt_everything_is_computed_anew() -> None:
    server = split(cache_prompt=False)
    server.send(40, 3, own="chat")
    server.finish()
    server.send(40, 3, own="chat")
    batch = server.step()
    assert batch.pieces[0].tokens == 40


# -- in which order


def test_deferred_requests_start_in_order_of_arrival() -> None:
    server = split(slots=1)
    order = []
    for _ in range(5):
        server.send(10, 3)
    while server.core.scheduler.running_count + server.core.scheduler.waiting_count:
        order += server.new(server.step())
    assert order == [1, 2, 3, 4, 5]


def test_of_two_slots_freed_in_one_step_the_second_lets_its_request_choose_first() -> None:
    server = split(slots=2)
    for _ in range(5):
        server.send(10, 3)
    server.step()
    while not server.ended:
        server.step()
    server.step()
    assert {number: server.slot_of(number) for number in (3, 4)} == {4: 0, 3: 1}
    assert [request.id for request in server.slots.deferred] == [5]


def test_slots_freed_in_one_step_come_free_by_their_numbers_whoever_came_first() -> None:
    server = split(slots=2)
    first = server.send(10, 5)
    server.step()
    second = server.send(10, 4)
    server.send(10, 3)
    server.send(10, 3)
    server.step()
    assert [server.slot_of(number) for number in (first, second)] == [1, 0]
    while not server.ended:
        server.step()
    assert server.ended == [first, second]
    server.step()
    assert {number: server.slot_of(number) for number in (3, 4)} == {4: 0, 3: 1}


def test_prompts_share_n_batch_by_slot_number_and_decodes_come_first() -> None:
    server = split(n_batch=100, n_ubatch=50)
    server.send(90, 9)
    server.send(30, 9)
    batch = server.step()
    assert [(piece.request.id, piece.tokens, piece.ends) for piece in batch.pieces] == [(2, 30, True), (1, 70, False)]
    batch = server.step()
    assert batch.decodes == 1
    assert [(piece.request.id, piece.tokens, piece.ends) for piece in batch.pieces] == [(1, 20, True)]
    server.send(500, 1)
    batch = server.step()
    assert (batch.decodes, [piece.tokens for piece in batch.pieces]) == (2, [98])
    assert batch.tokens == 100


def test_without_continuous_batching_slots_run_in_waves() -> None:
    server = split(slots=2, cont_batching=False)
    for output in (3, 5, 2, 2):
        server.send(10, output)
    steps = []
    while server.core.scheduler.running_count + server.core.scheduler.waiting_count:
        batch = server.step()
        steps.append((batch.decodes, sorted(server.new(batch))))
    assert steps == [(0, [1, 2]), (2, []), (2, []), (1, []), (1, []), (0, [3, 4]), (2, [])]


# -- passes and what they read


def test_a_gap_between_slots_doubles_the_passes_of_a_decode_step() -> None:
    server = split()
    for output in (9, 9, 2, 9):  # slots 3, 2, 1, 0
        server.send(10, output)
    server.step()
    assert len(server.step().passes) == 1
    assert [one.decodes for one in server.step().passes] == [1, 2]


def test_separate_streams_read_the_span_of_the_longest_lane_in_the_pass() -> None:
    server = split()
    server.send(250, 20)  # slot 3
    server.send(10, 20)  # slot 2
    server.step()
    spans = [server.step().passes[0].cells // 2 for _ in range(8)]
    assert spans == [256] * 6 + [512] * 2


def test_a_shared_pool_makes_every_row_read_everyones_cells() -> None:
    server = unified()
    server.send(250, 20)
    server.send(10, 20)
    batch = server.step()
    (one,) = batch.passes
    assert (one.prefill_tokens, one.prefill_cells, one.outputs) == (260, 260 * 512, 2)
    assert server.step().passes[0].cells == 2 * 512


def test_what_idle_slots_keep_is_read_by_all_until_it_is_purged() -> None:
    server = unified(n_ctx=1024)
    server.send(600, 1)
    server.finish()
    server.send(10, 300)
    server.step()
    assert server.step().passes[0].cells == 768
    server.send(500, 2)
    batch = server.step()
    assert batch.passes[-1].prefill_cells // batch.passes[-1].prefill_tokens == 768
    assert server.core.cache.usage().used == 12 + 500


def test_prompt_rows_are_cut_into_ubatches_that_read_what_is_filled_by_then() -> None:
    server = split(context=2048)
    server.send(1000, 2)
    (first, second) = server.step().passes
    assert (first.prefill_tokens, first.prefill_cells, first.outputs) == (512, 512 * 512, 0)
    assert (second.prefill_tokens, second.prefill_cells, second.outputs) == (488, 488 * 1024, 1)


# -- limits


def test_a_prompt_as_long_as_the_context_is_rejected_when_its_turn_comes() -> None:
    server = split(slots=1, context=256)
    server.send(10, 2)
    server.send(256, 2)
    server.send(255, 7)
    server.step()
    server.step()
    batch = server.step()
    assert [request.id for request in batch.rejected] == [2]
    assert batch.rejected[0].end is End.REJECTED
    batch = server.step()
    assert server.new(batch) == [3]
    assert server.ended == [3]  # the context leaves room for a single token
    assert batch.pieces[0].request.end is End.LENGTH


def failing_pool() -> tuple[Server, list[Batch]]:
    server = unified(slots=4, n_ctx=512)
    for prompt in (120, 120, 120, 120):
        server.send(prompt, 50)
    server.send(30, 2)
    batches = [server.step()]
    while not batches[-1].failed:
        batches.append(server.step())
    return server, batches


def test_an_overrun_pool_kills_every_request_in_flight_and_goes_on_with_those_deferred() -> None:
    server, batches = failing_pool()
    assert sorted(request.id for request in batches[-1].failed) == [1, 2, 3, 4]
    assert all(request.end is End.FAILED for request in batches[-1].failed)
    assert len(batches) == 1 + 8 + 1  # 480 cells, 8 steps of 4, and the step that finds none
    assert server.core.cache.usage().used == 0
    assert server.new(server.step()) == [5]
    server.finish()
    assert server.sent == 5


def test_before_it_fails_a_step_runs_in_ever_smaller_views_as_far_as_the_cells_go() -> None:
    server = unified(slots=2, n_ctx=512)
    server.send(400, 50)
    server.step()
    server.send(200, 5)
    futile = server.step()
    assert (futile.decodes, futile.wasted, futile.context, list(futile.pieces)) == (1, 1, 400, [])
    assert [one.padded for one in futile.passes] == [64, 32, 16]
    assert sorted(request.id for request in server.step().failed) == [1, 2]


def test_idle_slots_are_purged_before_anybody_fails() -> None:
    server = unified(slots=3, n_ctx=512)
    for _ in range(3):
        server.send(150, 1)
    server.finish()
    server.send(300, 2)
    batch = server.step()
    assert not batch.failed
    assert server.core.cache.usage().used == 300
    assert [server.slots.cache.context(slot) for slot in range(3)] == [300, 0, 150]


# -- the prompt cache in host RAM


def test_a_slot_that_changes_hands_is_saved_and_fetched_at_the_price_of_a_copy() -> None:
    server = split(slots=1, cache_ram_tokens=10_000, kv_bytes_per_token=8)
    server.send(100, 11, own="chat")
    assert server.step().host_bytes == 0
    server.finish()
    server.send(50, 2)
    assert server.step().host_bytes == 110 * 8
    server.finish()
    server.send(200, 2, own="chat")
    batch = server.step()
    assert batch.host_bytes == (51 + 110) * 8
    assert batch.pieces[0].context == 110


def test_saved_prompts_go_oldest_first_but_the_newest_stays() -> None:
    saved = PromptCache(limit_tokens=250)
    for name in ("a", "b", "c"):
        assert saved.save(((name, 100),), 100) == 100
    assert len(saved) == 2
    assert saved.take((("a", 100),), 100, 0, 0) is None
    assert saved.save((("d", 1000),), 1000) == 1000
    assert (len(saved), saved.tokens) == (1, 1000)


def test_a_saved_prompt_is_fetched_only_if_it_beats_the_slot_in_both_respects() -> None:
    saved = PromptCache(limit_tokens=10_000)
    content = (("system", 50), ("tools", 50))
    assert saved.save(content, 100) == 100
    assert saved.save((("system", 50),), 50) == 0  # is contained
    assert saved.take(content, 400, 60, 60) is None  # the slot is kept whole
    assert saved.take(content, 400, 400, 100) is None  # the slot gives as much
    assert saved.take((("system", 20),), 20, 0, 0) is None  # less than a quarter of it would be of use
    best = saved.take(content, 400, 400, 50)
    assert best is not None
    assert best.tokens == 100
    assert len(saved) == 0


# -- clients who leave


def test_a_client_who_leaves_frees_slot_or_place_in_the_queue() -> None:
    server = split(slots=1)
    first, second, third = (Request(number, 600, 5) for number in range(3))
    for request in (first, second, third):
        server.core.submit(request)
    server.step()
    server.core.abort(second, End.ABORTED)
    server.core.abort(first, End.TIMED_OUT)
    server.core.cache.check()
    assert server.new(server.step()) == [2]
    server.finish()
    assert (first.end, second.end, third.end) == (End.TIMED_OUT, End.ABORTED, End.LENGTH)


# -- strides

STEP_PS = 10
SERVERS: dict[str, Callable[[int], Core]] = {
    "split": lambda slots: Core(LlamaSlots(n_batch=64, n_ubatch=16), SlotCache(slots, 512)),
    "unified": lambda slots: Core(LlamaSlots(n_batch=64, n_ubatch=16), UnifiedCache(slots, 1536)),
    "overrun": lambda slots: Core(LlamaSlots(n_batch=64, n_ubatch=16), UnifiedCache(slots, 512)),
    "waves": lambda slots: Core(LlamaSlots(n_batch=64, n_ubatch=16, cont_batching=False), SlotCache(slots, 512)),
    "saved in host RAM": lambda slots: Core(
        LlamaSlots(n_batch=64, cache_ram_tokens=700, kv_bytes_per_token=2, cache_idle_slots=True),
        UnifiedCache(slots, 1024),
    ),
}
times = st.one_of(st.integers(0, 60).map(lambda step: step * STEP_PS), st.integers(0, 3000))
asks = st.builds(
    Ask,
    at_ps=times,
    prompt=st.one_of(st.integers(1, 200), st.integers(200, 520)),
    output=st.integers(1, 120),
    shared=st.sampled_from([0, 0, 30, 100]),
)


@pytest.mark.parametrize("kind", SERVERS)
@given(
    slots=st.integers(1, 5),
    arrivals=st.lists(asks, max_size=9),
    cell_ps=st.sampled_from([0, 1]),
)
def test_many_steps_in_one_event_give_what_they_give_one_by_one(
    kind: str, slots: int, arrivals: Sequence[Ask], cell_ps: int
) -> None:
    arrivals = [ask if ask.shared <= ask.prompt else Ask(ask.at_ps, ask.prompt, ask.output) for ask in arrivals]
    cost = LinearCost(STEP_PS, row_ps=1, cell_ps=cell_ps)
    strides, steps = (run(lambda: SERVERS[kind](slots), arrivals, cost=cost, stride_limit=limit) for limit in (None, 1))
    assert strides.requests == steps.requests
    # When everybody dies, the clock runs on to the end that a stride had before it was cut.
    assert replace(strides, end_ps=0) == replace(steps, end_ps=0)
    assert len(strides.requests["id"]) == len(arrivals)
