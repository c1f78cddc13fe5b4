"""Ollama's own runners: who gets tokens in which step, which slot, which span, and strides that equal steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.caches.ollama_cells import OllamaCells
from policies.caches.paged import PagedCache
from policies.schedulers.llama_runner import LlamaRunner
from policies.schedulers.ollama_runner import OllamaRunner
from sim.batch import Batch
from sim.clock import PS_PER_S, Clock
from sim.core import Core
from sim.cost import Stride
from sim.engine import Door
from sim.frontdoor import FrontDoor
from sim.journal import Columns, Journal, RequestLog
from sim.replica import Replica
from sim.request import End, Request


def core_of(runner: OllamaRunner, slots: int, num_ctx: int = 8192) -> Core:
    return Core(runner, OllamaCells(slots, num_ctx))


def step(core: Core) -> Batch:
    """One step, begun and finished before the next is decided."""
    batch = core.schedule()
    assert batch is not None
    core.scheduler.cache.check()
    core.complete(batch)
    core.scheduler.cache.check()
    return batch


def shares(core: Core, batch: Batch) -> list[int]:
    """Tokens of each slot in the step just taken."""
    runner = core.scheduler
    assert isinstance(runner, OllamaRunner)
    of_piece = {piece.request: piece.tokens for piece in batch.pieces}
    paused = set(batch.paused)
    tokens = []
    for request in runner.slots:
        assert request is not None
        alone = 1 if request.lockstep and request not in paused else 0
        tokens.append(of_piece.get(request, alone))
    return tokens


def replay(runner: OllamaRunner, prompts: list[int | None], steps: int) -> list[list[int]]:
    """Every slot decodes; then those with a number are replaced by a prompt of that length."""
    core = core_of(runner, len(prompts))
    decoding = [Request(number, 1, 10_000) for number in range(len(prompts))]
    for request in decoding:
        core.submit(request)
    step(core)
    for slot, prompt in enumerate(prompts):
        if prompt is not None:
            core.abort(decoding[slot], End.ABORTED)
    for slot, prompt in enumerate(prompts):
        if prompt is not None:
            core.submit(Request(100 + slot, prompt, 100))
    return [shares(core, step(core)) for _ in range(steps)]


# -- the shared budget of ollamarunner


def test_one_long_prompt_costs_the_decoding_slots_a_single_step() -> None:
    assert replay(OllamaRunner(), [4000, None, None, None], 4) == [[512, 0, 0, 0], *[[509, 1, 1, 1]] * 3]


def test_two_long_prompts_let_the_decoding_slots_run_every_second_step() -> None:
    assert replay(OllamaRunner(), [4000, 4000, None, None], 7) == [
        [512, 0, 0, 0],
        [0, 512, 0, 0],
        [510, 0, 1, 1],
        [0, 512, 0, 0],
        [510, 0, 1, 1],
        [0, 512, 0, 0],
        [510, 0, 1, 1],
    ]


def test_three_long_prompts_let_the_decoding_slot_run_every_third_step() -> None:
    assert replay(OllamaRunner(), [4000, 4000, 4000, None], 9) == [
        [512, 0, 0, 0],
        [0, 512, 0, 0],
        [0, 0, 512, 0],
        [511, 0, 0, 1],
        [0, 512, 0, 0],
        [0, 0, 512, 0],
        [511, 0, 0, 1],
        [0, 512, 0, 0],
        [0, 0, 512, 0],
    ]


@given(
    prompts=st.lists(st.one_of(st.none(), st.integers(1, 3000)), min_size=1, max_size=8),
    num_batch=st.integers(8, 600),
)
def test_a_decoding_slot_misses_at_most_as_many_steps_in_a_row_as_slots_prefill(
    prompts: list[int | None], num_batch: int
) -> None:
    missed = [0] * len(prompts)
    prefilling = [0] * len(prompts)
    left = [prompt or 0 for prompt in prompts]
    for tokens in replay(OllamaRunner(num_batch=num_batch), prompts, 60):
        assert 0 < sum(tokens) <= num_batch
        busy = sum(remaining > 0 for remaining in left)
        for slot, got in enumerate(tokens):
            if left[slot]:
                left[slot] -= got
            elif got:
                missed[slot] = prefilling[slot] = 0
            else:
                missed[slot] += 1
                prefilling[slot] = max(prefilling[slot], busy)
                assert missed[slot] <= prefilling[slot]


@given(
    prompts=st.lists(st.integers(1, 2000), min_size=1, max_size=8),
    outputs=st.lists(st.integers(1, 40), min_size=8, max_size=8),
    num_batch=st.integers(8, 600),
    slots=st.integers(1, 4),
)
def test_every_prompt_token_is_computed_once_and_every_output_token_but_the_last_too(
    prompts: list[int], outputs: list[int], num_batch: int, slots: int
) -> None:
    core = core_of(OllamaRunner(num_batch=num_batch, lookahead=False), slots)
    requests = [Request(n, prompt, output) for n, (prompt, output) in enumerate(zip(prompts, outputs, strict=False))]
    for request in requests:
        core.submit(request)
    computed = 0
    while core.scheduler.running_count or core.scheduler.waiting_count:
        computed += step(core).tokens
    assert computed == sum(request.prompt_tokens + request.output_tokens - 1 for request in requests)
    assert all(request.end is End.LENGTH for request in requests)


# -- llamarunner: a budget for each slot, cut into passes


def test_llamarunner_never_skips_an_answer_and_gives_every_prompt_its_own_budget() -> None:
    assert replay(LlamaRunner(), [4000, 700, None], 3) == [[512, 512, 1], [512, 188, 1], [512, 1, 1]]


def test_a_step_of_llamarunner_is_cut_into_passes_of_512_rows() -> None:
    core = core_of(LlamaRunner(), 3)
    for number, prompt in enumerate((500, 400, 300)):
        core.submit(Request(number, prompt, 9))
    batch = step(core)
    assert [one.padded for one in batch.passes] == [512, 512, 176]
    assert [one.outputs for one in batch.passes] == [1, 1, 1]
    # each pass reads the cells in use by then, up to the next multiple of 256
    assert [one.prefill_cells for one in batch.passes] == [512 * 512, 512 * 1024, 176 * 1280]
    assert step(core).passes[0].decodes == 3


def test_ollamarunner_computes_its_step_in_one_pass() -> None:
    core = core_of(OllamaRunner(num_batch=1024), 2)
    for number in range(2):
        core.submit(Request(number, 500, 9))
    batch = step(core)
    assert [one.padded for one in batch.passes] == [1000]
    assert batch.passes[0].outputs == 2


# -- slots


def chat(number: int, tokens: int, name: str, more: int = 10) -> Request:
    return Request(number, tokens + more, 5, prefix=((name, tokens),))


def run_alone(core: Core, request: Request) -> None:
    core.submit(request)
    while request.end is None:
        step(core)


def test_a_prompt_goes_to_the_free_slot_with_the_longest_common_beginning() -> None:
    core = core_of(OllamaRunner(lookahead=False), 3)
    runner = core.scheduler
    assert isinstance(runner, OllamaRunner)
    for number, name in enumerate("abc"):
        core.submit(chat(number, 100, name))
    step(core)
    for number in range(3):
        request = runner.slots[number]
        assert request is not None
        core.abort(request, End.ABORTED)
    again = chat(9, 100, "b")
    core.submit(again)
    step(core)
    assert runner.slots == [None, again, None]
    assert again.cached_tokens == 100


def test_without_anything_in_common_the_first_free_slot_is_taken() -> None:
    core = core_of(OllamaRunner(), 3)
    runner = core.scheduler
    assert isinstance(runner, OllamaRunner)
    for number in range(2):
        run_alone(core, Request(number, 50, 3))
        request = Request(10 + number, 50, 30)
        core.submit(request)
        step(core)
        assert runner.slots[number] is request


def test_a_prompt_known_in_full_still_computes_its_last_token() -> None:
    core = core_of(OllamaRunner(lookahead=False), 1)
    run_alone(core, Request(0, 64, 5, own="same"))
    again = Request(1, 64, 5, own="same")
    core.submit(again)
    batch = step(core)
    assert again.cached_tokens == 63
    assert [piece.tokens for piece in batch.pieces] == [1]
    assert batch.passes[0].prefill_tokens == 1


def test_fewer_slots_than_conversations_lose_every_conversations_beginning() -> None:
    core = core_of(OllamaRunner(lookahead=False), 1)
    for number, name in enumerate("abab"):
        request = chat(number, 400, name)
        run_alone(core, request)
        assert request.cached_tokens == 0
    request = chat(9, 400, "b")
    run_alone(core, request)
    assert request.cached_tokens == 400


def test_a_slot_needs_the_cells_made_for_it() -> None:
    with pytest.raises(TypeError, match="PagedCache"):
        Core(OllamaRunner(), PagedCache(10))


# -- the end of a slot's context


def test_an_over_long_prompt_is_cut_to_the_context() -> None:
    core = core_of(OllamaRunner(), 1, 256)
    request = Request(0, 1000, 1, prefix=(("system", 500),))
    run_alone(core, request)
    assert request.prompt_tokens == 256
    assert request.prefix == ()


def test_without_truncation_only_a_prompt_longer_than_the_context_is_refused() -> None:
    core = core_of(OllamaRunner(truncate=False), 1, 256)
    fits, does_not = Request(0, 256, 1), Request(1, 257, 1)
    assert core.submit(fits)
    assert not core.submit(does_not)
    assert does_not.end is End.REJECTED


def test_without_context_shift_an_answer_ends_when_its_slot_is_full() -> None:
    core = core_of(OllamaRunner(context_shift=False), 1, 256)
    request = Request(0, 200, 500)
    run_alone(core, request)
    assert request.output_tokens == 57
    assert request.end is End.LENGTH


@pytest.mark.parametrize("runner", [OllamaRunner(), LlamaRunner()])
def test_with_context_shift_a_full_slot_drops_half_and_goes_on(runner: OllamaRunner) -> None:
    core = core_of(runner, 2, 256)
    request = Request(0, 200, 500)
    core.submit(request)
    cache = core.cache
    assert isinstance(cache, OllamaCells)
    held = []
    while request.end is None:
        step(core)
        held.append(cache.context(0))
    assert max(held) == 256
    assert 256 - 126 + 1 in held
    assert request.output_tokens == 500


def test_no_answer_is_longer_than_ten_contexts() -> None:
    core = core_of(OllamaRunner(), 1, 64)
    request = Request(0, 10, 5000)
    core.submit(request)
    assert request.output_tokens == 640


# -- the span of cells that every row reads


def test_every_row_reads_the_cells_of_all_slots_rounded_up_to_256() -> None:
    core = core_of(OllamaRunner(lookahead=False), 2)
    core.submit(Request(0, 300, 100))
    core.submit(Request(1, 10, 100))
    step(core)
    one = step(core).passes[0]
    assert (one.decodes, one.cells, one.growth) == (2, 2 * 512, 0)


def test_a_long_idle_conversation_makes_the_others_slower() -> None:
    core = core_of(OllamaRunner(lookahead=False), 2)
    core.submit(Request(0, 2000, 2))
    core.submit(Request(1, 10, 100))
    batches = [step(core) for _ in range(8)]
    assert core.scheduler.running_count == 1
    assert batches[-1].passes[0].cells == 2048


# -- time


class Cost:
    """Some milliseconds a pass, more for every row and every cell."""

    trust = "datasheet"

    def stride(self, batch: Batch) -> Stride:
        prefill = sum(one.prefill_tokens * 50_000_000 + one.prefill_cells * 1000 for one in batch.passes)
        first = sum(8_000_000_000 + one.decodes * 20_000_000 + one.cells * 90_000 for one in batch.passes) + prefill
        return Stride(first, sum(one.growth for one in batch.passes) * 90_000, prefill_ps=prefill)


Lengths = list[tuple[int, int, int, bool]]  # prompt, output, what it begins with, whether the model stops by itself


def closed_loop(
    runner: OllamaRunner, slots: int, num_ctx: int, users: int, lengths: Lengths, limit: int | None
) -> tuple[Columns, int, list[tuple[int, ...]]]:
    """Users behind a door of as many permits as slots, each sending the next request when one is answered."""
    env, log, journal = Clock(), RequestLog(), Journal()
    core = core_of(runner, slots, num_ctx)
    todo = iter(enumerate(lengths))

    def ask(user: int) -> None:
        number, (prompt, output, name, eos) = next(todo, (0, (0, 0, 0, False)))
        if prompt:
            ceiling = output + 1 if eos else output
            shared = ((name, min(prompt, 40)),)
            door.arrive(Request(number, prompt, output, ceiling, env.now, user, prefix=shared))

    def ended(request: Request) -> None:
        log.add(request)
        door.left(request)
        ask(request.user)

    replica = Replica(env, core, Cost(), journal, ended, stride_limit=limit)
    door = FrontDoor(env, Door(permits=slots), replica.submit, lambda request, end: None)  # noqa: ARG005
    for user in range(users):
        env.call_in(user * 7_000_000_000, lambda _, user=user: ask(user))  # type: ignore[misc]
    env.run()
    core.cache.check()
    tokens = [tuple(row.tolist()) for row in journal.gaps.columns().values()]
    return log.columns(), env.now, tokens


RUNNERS = {
    "ollamarunner": OllamaRunner(num_batch=64),
    "ollamarunner, in turn": OllamaRunner(num_batch=64, lookahead=False),
    "ollamarunner, fewer tokens than slots": OllamaRunner(num_batch=2),
    "llamarunner": LlamaRunner(num_batch=64, n_ubatch=64),
}


@pytest.mark.parametrize("name", RUNNERS)
@given(
    slots=st.integers(1, 4),
    users=st.integers(1, 6),
    num_ctx=st.sampled_from([96, 300, 2048]),
    lengths=st.lists(
        st.tuples(st.integers(1, 400), st.integers(1, 300), st.integers(0, 2), st.booleans()), min_size=1, max_size=14
    ),
)
def test_strides_equal_single_steps(name: str, slots: int, users: int, num_ctx: int, lengths: Lengths) -> None:
    strides, end, gaps = closed_loop(RUNNERS[name], slots, num_ctx, users, lengths, None)
    steps, step_end, step_gaps = closed_loop(RUNNERS[name], slots, num_ctx, users, lengths, 1)
    assert {column: values.tolist() for column, values in strides.items()} == {
        column: values.tolist() for column, values in steps.items()
    }
    assert len(strides["id"]) == len(lengths)
    assert (end, gaps) == (step_end, step_gaps)


class OneSecond:
    """Every step takes a second."""

    trust = "datasheet"

    def stride(self, batch: Batch) -> Stride:
        return Stride(PS_PER_S, 0, prefill_ps=PS_PER_S if batch.prompt_tokens else 0)


def test_one_slot_serves_three_requests_in_three_six_and_nine_seconds_and_no_field_shows_the_wait() -> None:
    env, journal = Clock(), Journal()
    done: list[Request] = []

    def ended(request: Request) -> None:
        done.append(request)
        door.left(request)

    replica = Replica(env, core_of(OllamaRunner(lookahead=False), 1), OneSecond(), journal, ended)
    door = FrontDoor(env, Door(permits=1, pending_limit=512), replica.submit, lambda request, end: None)  # noqa: ARG005
    for number in range(3):
        door.arrive(Request(number, 10, 3))
    env.run()
    total = [(request.end_ps - request.arrival_ps) // PS_PER_S for request in done]
    prompt_eval = [(request.first_token_ps - request.admitted_ps) // PS_PER_S for request in done]
    answer = [(request.end_ps - request.first_token_ps) // PS_PER_S for request in done]
    assert (total, prompt_eval, answer) == ([3, 6, 9], [1, 1, 1], [2, 2, 2])
    assert [t - p - a for t, p, a in zip(total, prompt_eval, answer, strict=True)] == [0, 3, 6]


@pytest.mark.parametrize("limit", [1, 9])
def test_with_lookahead_an_answer_that_has_ended_gets_one_more_row_and_then_its_slot_is_free(limit: int) -> None:
    core = core_of(OllamaRunner(), 1)
    request, following = Request(0, 10, 1, limit), Request(1, 10, 1, limit)
    core.submit(request)
    core.submit(following)
    first = core.schedule()
    ahead = core.schedule()
    assert first is not None
    assert ahead is not None
    assert ahead.passes[0].decodes == ahead.decodes == 1
    assert core.complete(first, last=False) == [request]
    assert core.scheduler.running_count == 0
    after = core.schedule()
    assert after is not None
    assert [piece.request for piece in after.pieces] == [following]


def test_the_row_of_an_answer_that_reached_its_limit_is_counted_as_wasted() -> None:
    core = core_of(OllamaRunner(), 1)
    core.submit(Request(0, 10, 1))
    core.schedule()
    ahead = core.schedule()
    assert ahead is not None
    assert ahead.wasted == 1


def test_lookahead_makes_short_answers_slower() -> None:
    lengths: Lengths = [(10, 5, 0, False)] * 6
    ends = [closed_loop(OllamaRunner(lookahead=ahead), 2, 2048, 2, lengths, None)[1] for ahead in (False, True)]
    assert ends[0] < ends[1]
