"""What the kernel's parts promise each by itself, where a whole run would hide a broken promise."""

import dataclasses
import gc
import math

import pytest

from policies.caches.paged import PagedCache
from policies.schedulers.fcfs import Fcfs
from sim.batch import Batch, Pass
from sim.clock import PS_PER_MS, PS_PER_S, PS_PER_US, Clock, ps, seconds
from sim.core import Core
from sim.cost import FOREVER, Stride
from sim.decoding import Decoding
from sim.engine import Door, MemoryPlan, Traits
from sim.errors import BadScenario, DoesNotFit, NotSupported, SimctlError, UnknownName, UsageError
from sim.hardware import Host
from sim.journal import Journal, RequestLog
from sim.replica import Replica
from sim.request import End, Request
from sim.scenario import Patience, Scenario
from tests.driver import LONGEST, Ask, LinearCost, expanded, paged, run, vllm, walk
from tests.serving import StepTimes, serve
from workloads.distributions import Fixed
from workloads.open_loop import Burst

# -- the clock


def test_a_second_is_a_million_million_picoseconds() -> None:
    assert (PS_PER_S, PS_PER_MS, PS_PER_US) == (10**12, 10**9, 10**6)
    assert (ps(1.5), seconds(250 * PS_PER_MS)) == (1_500_000_000_000, 0.25)


@pytest.mark.parametrize("duration", [-1.0, math.inf, math.nan])
def test_a_duration_that_is_negative_or_no_number_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match=str(duration)):
        ps(duration)


def test_at_one_instant_arrivals_come_before_ends_and_decisions_last() -> None:
    env, order = Clock(), list[str]()
    env.call_in(5, lambda _: env.call_last(lambda _: order.append("decision")))
    env.call_in(5, lambda _: order.append("end on replica 1"), rank=3)
    env.call_in(5, lambda _: order.append("end on replica 0"), rank=2)
    env.call_in(5, lambda _: order.append("arrival"))
    env.run()
    assert order == ["arrival", "end on replica 0", "end on replica 1", "decision"]


def test_the_last_event_of_an_instant_knows_that_it_is_the_last() -> None:
    env, last = Clock(), list[bool]()
    for at_ps in (5, 5, 6):
        env.call_in(at_ps, lambda _: last.append(env.is_last()))
    env.run()
    assert last == [False, True, True]


def test_an_instant_is_skipped_to_only_if_nothing_happens_until_then() -> None:
    env = Clock()
    env.call_in(5, lambda _: None)
    assert (env.skip_to(5), env.now) == (False, 0)
    assert (env.skip_to(4), env.now) == (True, 4)
    env.run()
    assert (env.now, env.skip_to(7), env.now) == (5, True, 7)


def test_a_run_until_an_instant_stops_there_whatever_could_be_skipped() -> None:
    world = World()
    request = world.send(0, 3, 20)
    world.env.run(until=25)
    assert (world.env.now, request.first_token_ps, request.end) == (25, 10, None)
    world.env.run()
    assert request.end_ps == 200


# -- the decode group


def member(decoding: Decoding, number: int, output: int, context: int = 10) -> Request:
    """A request that has just sampled its first token."""
    request = Request(number, context, output)
    request.order = number
    decoding.join(request, context)
    return request


def test_the_next_end_is_that_of_a_present_member() -> None:
    decoding = Decoding()
    first, second = member(decoding, 0, 3), member(decoding, 1, 8)
    assert decoding.steps_left() == 2
    decoding.leave(first)
    assert decoding.steps_left() == 7
    decoding.leave(second)
    assert (decoding.steps_left(), decoding.count, decoding.context) == (0, 0, 0)


def test_a_member_that_left_and_came_back_ends_when_its_tokens_say() -> None:
    decoding = Decoding()
    request = member(decoding, 0, 5)
    decoding.advance(1)
    decoding.leave(request)
    assert (request.computed, request.generated) == (11, 2)
    decoding.advance(10)
    assert decoding.due() == []
    decoding.advance(1)
    decoding.join(request, 12)
    assert decoding.steps_left() == 2
    decoding.advance(2)
    assert decoding.due() == [request]
    assert decoding.due() == []


def test_those_who_end_together_do_so_in_the_order_of_their_admission() -> None:
    decoding = Decoding()
    late, early = member(decoding, 7, 2), member(decoding, 3, 3)
    decoding.advance(2)
    assert decoding.due() == [early, late]


# -- strides


@pytest.mark.parametrize("growth", [0, 1, 7])
def test_the_steps_that_cover_a_while_are_the_fewest_that_last_as_long(growth: int) -> None:
    stride = Stride(10, growth)
    for elapsed in range(400):
        steps = stride.steps_covering(elapsed)
        assert stride.total(steps) >= elapsed
        assert steps == 1 or stride.total(steps - 1) < elapsed


def test_a_stride_holds_for_ever_and_is_no_prompt_work_unless_it_says_so() -> None:
    assert Stride(10) == Stride(10, 0, FOREVER, 0)
    assert FOREVER > 10**6 * 365 * 86400  # more steps than a microsecond each in a year


# -- the core


def decode(core: Core, request: Request) -> Request:
    """Run a lone request to its end."""
    assert core.submit(request)
    while (batch := core.schedule()) is not None:
        core.complete(batch)
    return request


def test_an_answer_that_the_context_cuts_ended_by_length() -> None:
    core = Core(vllm(), paged(LONGEST))
    cut = decode(core, Request(0, LONGEST - 5, 20, limit=40))
    whole = decode(core, Request(1, LONGEST - 5, 4, limit=40))
    assert (cut.end, cut.output_tokens) == (End.LENGTH, 5)
    assert (whole.end, whole.output_tokens) == (End.FINISHED, 4)


@pytest.mark.parametrize(("limit", "rows_for_nobody"), [(4, 0), (40, 1)])
def test_deciding_ahead_wastes_a_row_on_a_stop_by_the_model_and_none_on_a_limit(
    limit: int, rows_for_nobody: int
) -> None:
    core = Core(vllm(async_scheduling=True), paged(LONGEST))
    core.submit(Request(0, 3, 4, limit))
    wasted, batch = 0, core.schedule()
    while batch is not None:
        following = core.schedule()
        core.complete(batch, following is None)
        wasted += batch.wasted
        batch = following
    assert wasted == rows_for_nobody


@pytest.mark.parametrize("ahead", [False, True])
def test_decodes_with_nobody_waiting_are_one_decision_until_the_first_of_them_ends(ahead: bool) -> None:
    core = Core(vllm(async_scheduling=ahead), paged(LONGEST))
    core.submit(Request(0, 3, 10))
    prompt = core.schedule()
    assert prompt is not None
    core.complete(prompt, last=not ahead)
    decodes = core.schedule()
    assert decodes is not None
    assert (decodes.decodes, decodes.steady_steps) == (1, 9)


def test_a_request_that_is_refused_has_ended() -> None:
    core = Core(vllm(), paged(LONGEST))
    request = Request(0, LONGEST, 1)
    assert not core.submit(request)
    assert (request.end, core.scheduler.waiting_count) == (End.REJECTED, 0)


@pytest.mark.parametrize("on", [True, False])
def test_a_run_leaves_garbage_collection_as_it_was(on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        serve(Fcfs(), Burst(1, Fixed(1), Fixed(1)), StepTimes())
        assert gc.isenabled() is on
    finally:
        (gc.enable if before else gc.disable)()


# -- errors


def test_every_error_has_the_exit_code_of_its_kind() -> None:
    kinds = (SimctlError, UsageError, UnknownName, NotSupported, BadScenario, DoesNotFit)
    assert [kind.exit_code for kind in kinds] == [1, 2, 2, 2, 3, 4]


def test_what_does_not_fit_says_so_and_by_how_much() -> None:
    error = DoesNotFit("too large", 3)
    assert (str(error), error.missing_bytes) == ("too large", 3)


def test_an_unknown_name_offers_the_three_nearest_or_says_what_is_known() -> None:
    assert len(UnknownName("gpu", "A100", ["a100-1", "a100-2", "a100-3", "a100-4", "x"]).near) == 3
    assert "did you mean a100-1?" in str(UnknownName("gpu", "A100-1", ["a100-1", "zz"]))
    assert "known: a, b" in str(UnknownName("gpu", "zzzzzz", ["a", "b"]))


# -- what a batch, a request and an engine say when nothing is said of them


def test_a_batch_counts_its_tokens_and_nobody_else() -> None:
    batch = Batch(3, (Pass(3, 30, 3),))
    assert (batch.tokens, batch.steady_steps, batch.wasted, batch.host_bytes, batch.context) == (3, 1, 0, 0, 0)
    assert Pass(3, 30, 3) == Pass(3, 30, 3, 0, 0, 0, 0)


def test_a_new_request_has_nothing_behind_it() -> None:
    request = Request(0, 5, 7)
    assert (request.limit, request.stops_by_length, request.known_tokens, request.attempt) == (7, True, 5, 1)
    assert (request.user, request.priority, request.order, request.arrival_ps, request.generated) == (-1, 0, -1, 0, 0)
    assert {request.admitted_ps, request.first_token_ps, request.last_token_ps, request.end_ps} == {-1}
    assert (request.own_prefill_ps, request.preemption_ps, request.stall_ps, request.preemptions) == (0, 0, 0, 0)
    assert not Request(0, 5, 7, limit=8).stops_by_length


def test_an_engine_that_says_nothing_more_keeps_all_on_one_gpu_and_lets_everybody_in() -> None:
    plan = MemoryPlan(1, 2, 3, 4, 5)
    assert (plan.layers_on_host, plan.host_weight_bytes, plan.host_kv_bytes) == (0, 0, 0)
    assert (plan.blocks, plan.slots) == (None, None)
    traits = Traits("vllm", "bf16", 16.0)
    assert (traits.kv_bytes_per_element, traits.tensor_parallel) == (2.0, 1)
    assert not traits.overlaps_host
    assert not traits.unified_cells
    assert Host("host", "Host", 1, 2.0, 3.0).single_thread == 1  # as fast as the host that overheads were taken on
    assert Door() == Door(permits=None, load_s=0.0, pending_limit=None, waits_inside=False)


def test_a_client_that_says_nothing_waits_for_ever_and_asks_once() -> None:
    patience = Patience()
    assert (patience.timeout_s, patience.retries, patience.backoff_s) == (None, 0, 1.0)
    fields = {field.name: field.default for field in dataclasses.fields(Scenario)}
    assert (fields["replicas"], fields["seed"], fields["stride_limit"]) == (1, 0, None)


# -- the replica


class World:
    """One replica and everything that its requests are told."""

    def __init__(
        self,
        cache: PagedCache | None = None,
        prompt_ps: int = 0,
        cell_ps: int = 0,
        stride_limit: int | None = None,
        **options: bool,
    ) -> None:
        self.env = Clock()
        self.journal = Journal()
        self.ended: list[int] = []
        core = Core(vllm(**options), cache or paged(3 * LONGEST))
        cost = LinearCost(prompt_ps=prompt_ps, cell_ps=cell_ps)
        self.replica = Replica(self.env, core, cost, self.journal, self._note, stride_limit)

    def send(self, at_ps: int, prompt: int, output: int) -> Request:
        """A request that arrives then."""
        request = Request(at_ps, prompt, output, arrival_ps=at_ps)
        self.env.call_in(at_ps, lambda _: self.replica.submit(request))
        return request

    def hang_up(self, at_ps: int, request: Request) -> None:
        """Its client goes away then."""
        self.env.call_in(at_ps, lambda _: self.replica.abort(request, End.ABORTED))

    def _note(self, request: Request) -> None:
        self.ended.append(request.id)


def test_a_client_that_hangs_up_is_let_go_when_its_step_is_over_and_told_once() -> None:
    world = World()
    gone, stays = world.send(0, 3, 20), world.send(1, 3, 4)
    world.hang_up(35, gone)
    world.env.run()
    assert (gone.end, gone.end_ps, stays.end) == (End.ABORTED, 40, End.LENGTH)
    assert world.ended == [0, 1]
    assert world.replica.core.scheduler.running_count == 0


def test_a_client_whose_answer_ends_with_the_step_has_its_answer() -> None:
    world = World()
    request = world.send(0, 3, 4)
    world.hang_up(35, request)
    world.env.run()
    assert (request.end, request.end_ps, world.ended) == (End.LENGTH, 40, [0])


def test_a_queue_counts_those_who_knocked_after_the_next_step_was_decided() -> None:
    world = World(async_scheduling=True)
    world.send(0, 3, 3)
    world.send(12, 3, 2)
    seen: list[tuple[int, int]] = []
    world.env.call_in(13, lambda _: seen.append(world.replica.view()))
    world.env.run()
    assert seen == [(1, 1)]


def test_whoever_hangs_up_is_counted_once_until_the_engine_lets_go() -> None:
    world = World()
    gone, waits = world.send(0, 3, 20), world.send(1, 3, 4)
    world.hang_up(35, gone)
    world.hang_up(36, waits)
    seen: list[tuple[int, int]] = []
    for at_ps in (37, 41):
        world.env.call_in(at_ps, lambda _: seen.append(world.replica.view()))
    world.env.run()
    assert seen == [(0, 2), (0, 0)]


def test_time_is_told_apart_into_prompt_work_and_the_rest() -> None:
    world = World(prompt_ps=2)
    world.send(0, 5, 3)
    world.env.run()
    assert (world.replica.notes.prefill_ps, world.replica.notes.decode_ps, world.env.now) == (10, 30, 40)


def test_a_request_is_told_the_time_that_its_own_and_other_prompts_took_before_its_first_token() -> None:
    world = World(prompt_ps=2)
    world.send(0, 5, 20)
    late = world.send(25, 16, 2)  # 15 tokens beside the other's one, then the last
    world.env.run()
    assert (late.admitted_ps, late.first_token_ps, late.end_ps) == (30, 82, 92)
    assert (late.own_prefill_ps, late.prefill_mark, late.decode_mark) == (32, 32, 20)


def test_a_row_for_nobody_is_no_token_in_the_journal() -> None:
    outcome = run(lambda: Core(vllm(async_scheduling=True), paged(LONGEST)), [Ask(0, 3, 4, limit=9)])
    assert sum(step[2] + (step[3] > 0) for step in outcome.steps[0]) == 4


def test_the_journal_writes_down_every_step_with_its_context() -> None:
    world = World(cell_ps=1)
    world.send(0, 4, 4)
    world.env.run()
    assert expanded(world.journal) == [(0, 20, 0, 4, 0), (20, 15, 1, 0, 4), (35, 16, 1, 0, 5), (51, 17, 1, 0, 6)]


def test_a_long_log_keeps_every_row_in_order() -> None:
    log = RequestLog()
    for number in range(10_000):
        request = Request(number, 1, 1)
        request.end = End.LENGTH
        log.add(request)
    assert log.columns()["id"].tolist() == list(range(10_000))


def test_an_arrival_at_an_idle_replica_is_decided_with_all_who_come_at_that_instant() -> None:
    walked = walk(Core(vllm(), paged(3 * LONGEST)), [Ask(0, 3, 1), Ask(0, 3, 1)])
    assert walked.decisions[0].admitted == [0, 1]
    world = World()
    requests = [world.send(5, 3, 2) for _ in range(3)]
    world.env.run()
    assert [request.admitted_ps for request in requests] == [5, 5, 5]
    assert [request.end_ps for request in requests] == [25, 25, 25]


def test_time_outside_the_batch_before_the_first_token_is_neither_prompt_work_nor_decoding() -> None:
    world = World(PagedCache(6, 4), prompt_ps=2, scheduler_reserve_full_isl=False)
    world.send(0, 8, 5)  # has what it needs and ends at 82
    late = world.send(0, 20, 1)  # 8 tokens at 0; finds no memory for the rest at 42; begins anew at 82
    world.env.run()
    assert (late.admitted_ps, late.preemptions, late.first_token_ps) == (0, 1, 142)
    assert (late.prefill_mark, late.decode_mark, late.preemption_ps) == (72, 30, 40)
    assert world.journal.preemptions == 1


def test_an_interruption_after_the_first_token_is_one_long_gap() -> None:
    world = World(PagedCache(5, 4))
    world.send(0, 6, 9)  # ends at 90
    late = world.send(0, 5, 9)  # pushed out at 30 with three tokens; comes back at 90
    world.env.run()
    gaps = {name: column.tolist() for name, column in world.journal.gaps.columns().items()}
    assert gaps == {"end_ps": [100], "gap_ps": [70]}
    assert (late.stall_ps, late.preemption_ps, late.end_ps) == (70, 0, 150)


def test_in_a_whole_run_those_whose_patience_ends_are_let_go_and_without_patience_nobody_is() -> None:
    load, step = Burst(2, Fixed(4), Fixed(9)), StepTimes()
    waited, left = serve(Fcfs(), load, step), serve(Fcfs(), load, step, patience=Patience(timeout_s=0.0125))
    assert waited.requests["end_ps"].tolist() == [9 * PS_PER_MS, 18 * PS_PER_MS]
    assert left.requests["end_ps"].tolist() == [9 * PS_PER_MS, 13 * PS_PER_MS]


@pytest.mark.parametrize("at_ps", range(30, 61, 5))
def test_who_hangs_up_while_a_step_is_decided_ahead_is_gone_from_the_one_after_it(at_ps: int) -> None:
    journals = []
    for stride_limit in (None, 1):
        world = World(cell_ps=1, stride_limit=stride_limit, async_scheduling=True)
        gone = world.send(0, 3, 20)
        world.send(0, 3, 20)
        world.hang_up(at_ps, gone)
        world.env.run()
        journals.append(expanded(world.journal))
    assert journals[0] == journals[1]
    assert {step[2] for step in journals[0]} == {0, 1, 2}
