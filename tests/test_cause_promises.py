"""What a run's time is owed to, where it can be told by hand, and which limit is named for it."""

from dataclasses import dataclass, fields, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from policies.caches.paged import PagedCache
from policies.schedulers.vllm_v1 import VllmV1
from sim.blame import Blame, Shares, blame
from sim.cause import Limit, StepShares, account, binding, candidates, nearest_bound, service
from sim.clock import PS_PER_MS, PS_PER_S
from sim.engine import Door
from sim.metrics import PointMetrics, summarise
from sim.request import End
from sim.scenario import Result
from sim.simulate import simulate
from sim.slo import Slo
from sim.window import measured_rows, measured_window
from tests.serving import StepTimes, serve
from workloads.distributions import Fixed, Uniform
from workloads.open_loop import Burst
from workloads.users import ClosedLoop

LIMITS = [field.name for field in fields(Shares)]
STEP = StepTimes()
NOTHING = Shares()


def blamed(result: Result) -> Blame:
    return blame(result, measured_rows(result), measured_window(result))


def ms(shares: Shares) -> dict[str, Any]:
    """What is owed, in milliseconds; what owes nothing is left out."""
    named = {field.name: 1000 * getattr(shares, field.name) for field in fields(shares)}
    return {name: pytest.approx(value, abs=1e-6) for name, value in named.items() if abs(value) > 1e-9}


def three(scheduler: VllmV1, prompt: int, output: int, step: StepTimes = STEP) -> Result:
    """Three equal requests at once; the last of them is the slowest."""
    return serve(scheduler, Burst(3, Fixed(prompt), Fixed(output)), step)


@dataclass(frozen=True)
class InTurn:
    """Prompts of these lengths, one after the other."""

    tokens: tuple[int, ...]
    text: str = "in turn"
    mean: float = 0.0

    def draw(self, _: Generator, count: int) -> NDArray[np.int64]:
        return np.resize(np.array(self.tokens, np.int64), count)


# -- the first token


def test_who_waits_for_the_only_place_waits_for_a_place() -> None:
    """Two answers of ten steps go before, and its own prompt takes a step."""
    assert ms(blamed(three(VllmV1(max_num_seqs=1), 8, 10)).first_token) == {"seq_slots": 20.0, "decode_rate": 1.0}


def test_who_finds_no_memory_though_places_are_free_waits_for_memory() -> None:
    """Room for one at a time, as all but the first few looks at the memory have it."""
    load = ClosedLoop(4, 200, Fixed(100), Fixed(20), warmup=20)
    result = serve(VllmV1(max_num_seqs=8), load, STEP, partial(PagedCache, 40, 4))
    owed = blamed(result).first_token
    assert owed.kv_blocks >= 0.9 * sum(getattr(owed, name) for name in LIMITS)
    assert owed.seq_slots <= 0.01 * owed.kv_blocks


def test_who_waits_behind_others_prompts_waits_for_the_budget_and_so_does_its_own() -> None:
    """Prompts of four steps each, one after the other, in which nothing but prompts takes time."""
    result = three(VllmV1(max_num_batched_tokens=8), 32, 1, StepTimes(0, prompt_ps=PS_PER_MS))
    assert ms(blamed(result).first_token) == {"prefill_budget": 96.0}


def test_who_waits_outside_with_places_free_waits_for_the_door() -> None:
    usual = serve(VllmV1(max_num_seqs=2), Burst(3, Fixed(8), Fixed(10)), STEP).scenario
    outside = replace(usual, deployment=replace(usual.deployment, door=Door(permits=1)))
    assert ms(blamed(simulate(outside)).first_token) == {"queue": 20.0, "decode_rate": 1.0}
    full = replace(outside, deployment=replace(outside.deployment, scheduler=VllmV1(max_num_seqs=1)))
    assert ms(blamed(simulate(full)).first_token) == {"seq_slots": 20.0, "decode_rate": 1.0}


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("blocks", [60, 100_000])
def test_what_the_slowest_first_tokens_are_owed_to_is_all_of_their_wait(blocks: int, replicas: int) -> None:
    load = ClosedLoop(12, 200, Uniform(4, 100), Uniform(2, 60), warmup=20, cooldown=10)
    step = StepTimes(prompt_ps=10**8, row_ps=10**7)
    scheduler = VllmV1(max_num_seqs=4, max_num_batched_tokens=64)
    for seed in range(3):
        result = serve(scheduler, load, step, partial(PagedCache, blocks, 4), replicas=replicas, seed=seed)
        log = result.requests
        wait = (log["first_token_ps"] - log["arrival_ps"])[measured_rows(result) & (log["first_token_ps"] >= 0)]
        slowest = wait[wait >= np.percentile(wait, 95)]
        owed = blamed(result).first_token
        total = sum(getattr(owed, field.name) for field in fields(owed))
        assert total == pytest.approx(slowest.mean() / PS_PER_S)
        assert all(getattr(owed, field.name) >= 0 for field in fields(owed))


# -- the tokens after it


def test_a_prompt_beside_a_decode_is_what_it_adds_to_the_step() -> None:
    """One answer of 13 tokens while another prompt goes by, fifteen tokens at a time: no step has decodes alone."""
    load = Burst(2, InTurn((1, 1000)), Fixed(13))
    result = serve(VllmV1(max_num_batched_tokens=16), load, StepTimes(prompt_ps=10**8))
    log = result.requests
    first = int(np.argmin(log["first_token_ps"]))
    assert log["prompt_tokens"][first] == 1
    short = replace(result, requests={name: column[[first]] for name, column in log.items()})
    window = replace(measured_window(result), end_ps=int(log["end_ps"][first]))
    found = blame(short, np.ones(1, np.bool_), window).token
    assert ms(found) == {"decode_rate": 1.0, "prefill_budget": 1.5}


def test_a_prompt_beside_some_of_the_steps_adds_what_they_last_longer_than_the_others() -> None:
    load = Burst(2, InTurn((1, 151)), Fixed(40))
    result = serve(VllmV1(max_num_batched_tokens=16), load, StepTimes(prompt_ps=10**8))
    record = result.replicas[0]
    tokens = int((record.strides["steps"] * record.strides["decodes"]).sum())
    beside = int(record.strides["prompt_tokens"][record.strides["decodes"] > 0].sum())
    found = blamed(result).token
    assert found.prefill_budget * tokens == pytest.approx(beside * 1e-4)
    assert found.decode_rate == pytest.approx(1e-3)


def test_a_preempted_answer_waits_for_memory_until_its_next_token() -> None:
    result = serve(VllmV1(), Burst(2, Fixed(6), Fixed(9)), STEP, partial(PagedCache, 5, 4))
    record = result.replicas[0]
    assert record.preemptions == 1
    tokens = int((record.strides["steps"] * record.strides["decodes"]).sum())
    assert blamed(result).token.kv_blocks * tokens * PS_PER_S == pytest.approx(record.gaps["gap_ps"].sum())


def test_an_answer_that_sits_steps_out_without_preemption_waits_for_the_budget() -> None:
    result = serve(VllmV1(), Burst(2, Fixed(6), Fixed(9)), STEP, partial(PagedCache, 5, 4))
    paused = replace(result, replicas=(replace(result.replicas[0], preemptions=0),))
    found, usual = blamed(paused).token, blamed(result).token
    assert (found.kv_blocks, found.prefill_budget) == (0, usual.kv_blocks + usual.prefill_budget)


@given(st.integers(1, 6), st.integers(1, 50), st.integers(2, 9))
def test_the_step_of_the_average_token_has_the_rows_and_the_context_of_its_steps(
    rows: int, prompt: int, output: int
) -> None:
    result = serve(VllmV1(), Burst(rows, Fixed(prompt), Fixed(output)), STEP, stride_limit=1)
    found = blamed(result)
    assert found.decodes == rows
    assert found.context == rows * (prompt + (output - 2) / 2)


def test_without_a_token_nothing_is_owed_and_those_turned_away_are_counted() -> None:
    usual = serve(VllmV1(), Burst(4, Fixed(8), Fixed(10)), STEP).scenario
    door = Door(load_s=5.0, pending_limit=1)
    shut = simulate(replace(usual, deployment=replace(usual.deployment, door=door)))
    away = int((shut.requests["first_token_ps"] < 0).sum())
    assert (away, blamed(shut).turned_away) == (2, 2)
    none = {name: column[shut.requests["first_token_ps"] < 0] for name, column in shut.requests.items()}
    assert blamed(replace(shut, requests=none)) == Blame(turned_away=2)
    refused = serve(VllmV1(max_model_len=4), Burst(2, Fixed(8), Fixed(2)), STEP)
    assert blamed(refused) == Blame()  # by the engine, not by a door


# -- naming the limit

times = st.floats(0, 10).map(lambda value: round(value, 6))
all_shares = st.builds(Shares, **dict.fromkeys(LIMITS, times))
steps = st.floats(0, 1).flatmap(lambda host: st.builds(StepShares, st.just(host), st.floats(0, 1 - host)))


def point(first: Shares = NOTHING, token: Shares = NOTHING, **more: Any) -> PointMetrics:
    """A load with as much as its cause is told from: answers of 101 tokens, 20 ms a token after the first."""
    given_ = {
        "blame": Blame(first, token, turned_away=more.pop("turned_away", 0)),
        "ttft": stats(1.0, 2.0),
        "tpot": stats(0.02, 0.03),
        "e2e": stats(3.0, 4.0),
        "stall": None,
        "outcomes": dict.fromkeys(End, 0),
        "requests": 100,
    }
    return cast(PointMetrics, SimpleNamespace(**given_ | more))


def stats(mean_s: float, p95_s: float) -> Any:
    return SimpleNamespace(mean=1000 * mean_s, p95=1000 * p95_s)


def total(shares: Shares) -> float:
    return float(sum(getattr(shares, name) for name in LIMITS))


@given(all_shares, all_shares, steps)
def test_every_second_is_owed_to_one_limit_the_largest_first(first: Shares, token: Shares, step: StepShares) -> None:
    seen = point(first, token)
    for bound, whole in (("ttft", total(first)), ("finished", total(first)), ("tpot", total(token))):
        found = account(seen, cast(Any, bound), step)
        assert found.bound == bound
        assert found.total_s == pytest.approx(whole, abs=1e-9)
        assert sum(found.seconds(each.limit) for each in found.owed) == pytest.approx(found.total_s)
        owed = [each.seconds for each in found.owed]
        assert owed == sorted(owed, reverse=True)
        assert all(seconds > 0 for seconds in owed)
    whole = total(first) + 100 * total(token)
    assert account(seen, "e2e", step).total_s == pytest.approx(whole, abs=1e-9)


@given(all_shares, steps)
def test_the_time_of_a_step_is_the_hosts_its_spilled_layers_and_the_gpus(token: Shares, step: StepShares) -> None:
    found = account(point(token=token), "tpot", step)
    assert found.seconds("host_overhead") == pytest.approx(token.decode_rate * step.host)
    assert found.seconds("spill") == pytest.approx(token.decode_rate * step.spill)
    rest = token.decode_rate - found.seconds("host_overhead") - found.seconds("spill")
    assert found.seconds("decode_rate") == pytest.approx(rest, abs=1e-9)


@given(all_shares)
def test_a_stall_is_owed_to_what_interrupts_and_to_steps_only_if_nothing_does(token: Shares) -> None:
    found = account(point(token=token), "stall", StepShares())
    interrupted = token.prefill_budget > 0 or token.kv_blocks > 0
    assert found.seconds("decode_rate") == (0 if interrupted else token.decode_rate)
    assert found.seconds("prefill_budget") == token.prefill_budget


def test_an_answer_of_one_token_owes_nothing_to_later_ones() -> None:
    seen = point(Shares(queue=1.0), Shares(decode_rate=1.0), tpot=None)
    assert account(seen, "e2e", StepShares()).total_s == 1
    assert service(point(Shares(queue=1.0, prefill_budget=2.0), Shares(), tpot=None), StepShares()).total_s == 2


@given(all_shares, all_shares)
def test_service_leaves_the_waits_before_it_out(first: Shares, token: Shares) -> None:
    found = service(point(first, token), StepShares())
    own = first.prefill_budget + first.decode_rate + 100 * total(token)
    assert found.total_s == pytest.approx(own, abs=1e-9)


@given(*[st.none() | st.floats(0.01, 100)] * 4)
def test_the_nearest_bound_is_the_one_of_which_most_is_used(
    ttft: float | None, tpot: float | None, e2e: float | None, stall: float | None
) -> None:
    seen = point(stall=stats(0.1, 0.5))
    p95 = {"ttft": 2.0, "tpot": 0.03, "e2e": 4.0, "stall": 0.5}
    limits = {"ttft": ttft, "tpot": tpot, "e2e": e2e, "stall": stall}
    used = {name: p95[name] / limit for name, limit in limits.items() if limit}
    found = nearest_bound(seen, Slo(ttft_s=ttft, tpot_s=tpot, e2e_s=e2e, stall_s=stall))
    if not used:
        assert found is None
    else:
        assert found is not None
        assert found[1] == pytest.approx(max(used.values()))
        assert found[1] == pytest.approx(used[found[0]])
    assert nearest_bound(point(), Slo(stall_s=1.0)) is None


@given(st.floats(0, 1))
def test_a_limit_is_named_from_a_twentieth_of_the_time_on(share: float) -> None:
    token = Shares(prefill_budget=share, decode_rate=1 - share)
    named = candidates(point(token=token), "tpot", StepShares())
    assert ("prefill_budget" in named) is (share >= 0.05)
    assert named == sorted(named, key=lambda name: -getattr(token, name))


@pytest.mark.parametrize("wait", ["seq_slots", "kv_blocks", "queue"])
def test_after_a_wait_comes_what_those_inside_are_busy_with(wait: Limit) -> None:
    first = Shares(prefill_budget=0.4, decode_rate=0.1, **cast(Any, {wait: 9.0}))
    named = candidates(point(first, Shares(decode_rate=0.001, prefill_budget=0.05)), "ttft", StepShares())
    assert named == [wait, "prefill_budget"]
    busy = candidates(point(first, Shares(decode_rate=0.02)), "ttft", StepShares())
    assert busy == [wait, "decode_rate", "prefill_budget"]


def test_what_is_felt_first_is_no_wait_then_waits_come_by_their_size() -> None:
    first = Shares(prefill_budget=5.0, seq_slots=3.0, kv_blocks=1.0)
    assert candidates(point(first), "ttft", StepShares()) == ["prefill_budget", "seq_slots", "kv_blocks"]


@pytest.mark.parametrize(("spill", "first"), [(1 / 3, "spill"), (0.33, "decode_rate")])
def test_a_third_of_a_step_on_the_host_goes_before_all_else(spill: float, first: Limit) -> None:
    seen = point(token=Shares(decode_rate=1.0))
    assert candidates(seen, "tpot", StepShares(spill=spill))[0] == first
    assert candidates(point(), "tpot", StepShares()) == []


@pytest.mark.parametrize(
    ("rejected", "failed", "turned_away", "named"),
    [(9, 0, 9, ["queue"]), (9, 4, 9, ["queue", "kv_blocks"]), (0, 4, 0, ["kv_blocks"]), (3, 0, 0, ["context"])],
)
def test_who_is_not_served_was_turned_away_or_found_no_room(
    rejected: int, failed: int, turned_away: int, named: list[Limit]
) -> None:
    outcomes = dict.fromkeys(End, 0) | {End.REJECTED: rejected, End.FAILED: failed}
    seen = point(outcomes=outcomes, turned_away=turned_away)
    assert candidates(seen, "finished", StepShares()) == named
    assert candidates(seen, "ttft", StepShares()) == []


@given(st.integers(0, 20))
def test_more_than_one_in_twenty_lost_is_what_binds(lost: int) -> None:
    outcomes = dict.fromkeys(End, 0) | {End.FAILED: lost}
    seen = point(Shares(decode_rate=1.0), Shares(decode_rate=1.0), outcomes=outcomes)
    found = binding(seen, Slo(ttft_s=1.0), StepShares())
    assert found == ("kv_blocks" if lost > 5 else "decode_rate")


@given(st.floats(0.5, 10))
def test_below_half_of_every_bound_nothing_binds(limit_s: float) -> None:
    seen = point(Shares(prefill_budget=1.0), Shares(decode_rate=1.0))  # p95 of the first token: 2 s
    assert binding(seen, Slo(ttft_s=limit_s), StepShares()) == ("prefill_budget" if 2.0 / limit_s >= 0.5 else None)
    assert binding(seen, Slo(), StepShares()) is None


def test_the_bound_that_is_nearest_says_whose_time_it_is() -> None:
    seen = point(Shares(prefill_budget=1.0), Shares(decode_rate=1.0))
    assert binding(seen, Slo(ttft_s=2.0, tpot_s=0.06), StepShares()) == "prefill_budget"
    assert binding(seen, Slo(ttft_s=4.0, tpot_s=0.03), StepShares()) == "decode_rate"


def test_a_whole_run_is_named_by_the_time_that_its_own_blame_says() -> None:
    result = three(VllmV1(max_num_seqs=1), 8, 10)
    seen = summarise(result, Slo(ttft_s=1.0))
    assert candidates(seen, "ttft", StepShares())[0] == "seq_slots"
    assert seen.blame == blamed(result)
