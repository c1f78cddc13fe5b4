"""What the words of a variant and of a demand become: the machine, the deployment, the load and its steps."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from calibration.tables.steptable import load
from calibration.tables.tablecost import TableCost
from policies.caches.paged import PagedCache
from policies.caches.reserved import ReservedCache
from sim import compose
from sim.batch import Batch, Pass
from sim.compose.machines import machine, usual_host
from sim.compose.names import is_scheduler, policy_class
from sim.errors import UnknownName, UsageError
from sim.hardware import GIB
from sim.naming import fold
from sim.scenario import Patience
from sim.slo import SLO_PRESETS, Slo
from sim.variant import Demand, Variant, closed_budget, open_budget
from workloads.open_loop import Burst, OpenLoop
from workloads.users import ClosedLoop

VLLM = Variant("vllm", "vllm", "a100-40g-sxm", "llama-3.1-8b", options={"max_model_len": 4096})
OLLAMA = Variant("ollama", "ollama", "rtx-4090", "llama-3.1-8b", options={"num_parallel": 3, "num_ctx": 2048})

# -- machines


def test_around_every_card_stands_a_machine_of_its_kind() -> None:
    hosts = {host.id for host in compose.hosts()}
    for card in compose.cards():
        usual = usual_host(card)
        assert usual in hosts
        assert (usual == "mac-studio") == (card.vendor == "apple")
        assert (usual == "unified-box") == (card.memory_class == "unified" and card.vendor != "apple")
        assert usual.startswith("desktop") == (card.memory_class == "gddr")


@given(st.floats(1, 200), st.sampled_from([("a100-40g-sxm", "server"), ("rtx-4090", "desktop")]))
def test_a_machine_is_of_the_generation_of_its_cards_link(pcie_gbs: float, named: tuple[str, str]) -> None:
    gpu, kind = named
    card = replace(catalog.gpu(gpu), pcie_gbs=pcie_gbs)
    assert usual_host(card) == (f"{kind}-ddr5" if pcie_gbs > 30 else f"{kind}-ddr4")


def test_every_card_and_host_of_the_catalogue_is_listed() -> None:
    assert [card.id for card in compose.cards()] == catalog.names("gpu")
    assert [host.id for host in compose.hosts()] == catalog.names("host")


@pytest.mark.parametrize("gpu", ["rtx-4090", "a100-40g-sxm"])
def test_a_card_with_memory_of_its_own_leaves_the_machine_as_it_is(gpu: str) -> None:
    card, host, _ = machine(replace(VLLM, gpu=gpu, host="server-xeon"))
    assert (card, host) == (catalog.gpu(gpu), catalog.host("server-xeon"))


@given(st.integers(1, 512))
def test_a_shared_memory_is_as_large_as_the_card_says_and_as_fast(gib: int) -> None:
    card, host, _ = machine(replace(VLLM, gpu="dgx-spark-gb10", vram_bytes=gib * GIB))
    assert (host.ram_bytes, host.ram_gbs) == (gib * GIB, card.bandwidth_gbs)
    card, host, _ = machine(replace(VLLM, gpu="m1", vram_bytes=gib * GIB))
    assert card.memory_bytes == gib * GIB == pytest.approx(host.ram_bytes * 3 / 4, abs=1)


# -- deployments


def test_a_policy_named_by_itself_keeps_the_engines_cache_and_options() -> None:
    usual = compose.deploy(VLLM)
    named = compose.deploy(replace(VLLM, scheduler="vllm_v1"))
    assert named.scheduler == usual.scheduler
    assert repr(named.cache) == repr(usual.cache)
    other = compose.deploy(replace(VLLM, scheduler="vllm_v1:max_num_seqs=3,enable_chunked_prefill=false"))
    assert (other.scheduler.max_num_seqs, other.scheduler.enable_chunked_prefill) == (3, False)  # type: ignore[attr-defined]
    assert other.scheduler.max_num_batched_tokens == usual.scheduler.max_num_batched_tokens  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("engine", "known", "beyond"),
    [
        ("vllm", ("0.8", "v0.32.4"), ("0.33", "11", "99.1")),
        ("ollama", ("0.1.33", "v0.32.99"), ("0.33", "3.2", "99.1.1")),
        ("llama_cpp", ("b2496", "11434"), ("b11435", "b99999999")),
    ],
)
def test_a_version_beyond_those_that_are_known_runs_as_the_newest_and_says_so(
    engine: str, known: tuple[str, ...], beyond: tuple[str, ...]
) -> None:
    def told(version: str) -> list[str]:
        variant = Variant("x", engine, "a100-40g-sxm", "llama-3.1-8b", version=version)
        return [warning for warning in compose.deploy(variant).warnings if "newer than what is known" in warning]

    for version in known:
        assert told(version) == []
    for version in beyond:
        (warning,) = told(version)
        assert version in warning
        assert warning.endswith(f"behaves as {compose.engine(engine).VERSIONS[-1]}")


@pytest.mark.parametrize("variant", [VLLM, OLLAMA])
@pytest.mark.parametrize(("name", "kind"), [("orca", ReservedCache), ("sarathi", PagedCache), ("fcfs", PagedCache)])
def test_another_policy_has_the_cache_it_works_with_of_the_engines_size(
    variant: Variant, name: str, kind: type[Any]
) -> None:
    deployment = compose.deploy(replace(variant, scheduler=name))
    cache: Any = deployment.cache()
    assert type(cache) is kind
    held = cache.capacity_tokens
    block = 1 if kind is ReservedCache else 16
    assert deployment.memory.kv_tokens - block < held <= deployment.memory.kv_tokens


def test_another_policy_for_the_engines_own_kind_of_memory_keeps_it() -> None:
    variant = Variant("x", "llama_cpp", "rtx-4090", "llama-3.1-8b", options={"parallel": 3, "ctx_size": 6144})
    other = compose.deploy(replace(variant, scheduler="ollama_slots"))
    assert type(other.scheduler).__name__ == "OllamaSlots"
    assert repr(other.cache) == repr(compose.deploy(variant).cache)


@pytest.mark.parametrize("text", [":noise=1", "sjf:noise=1,,", "sjf:noise=1,seed"])
def test_a_policy_whose_options_are_not_pairs_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not written as sjf or"):
        compose.deploy(replace(VLLM, scheduler=text))


def test_an_option_that_a_policy_does_not_have_is_unknown() -> None:
    with pytest.raises(UnknownName, match="noise"):
        compose.deploy(replace(VLLM, scheduler="sjf:nois=0.3"))


LLAMA = Variant("x", "llama_cpp", "rtx-4090", "llama-3.1-8b", options={"parallel": 4, "ctx_size": 8192})


@pytest.mark.parametrize(
    ("variant", "scheduler", "option", "value", "allowed"),
    [
        (VLLM, "vllm_v1", "policy", "lifo", "one of fcfs, priority"),
        (VLLM, "vllm_v1", "max_num_seqs", "0", "a whole number of 1 or more"),
        (VLLM, "vllm_v1", "watermark", "2", "from 0 to 1"),
        (VLLM, "sjf", "noise", "abc", "a finite number that is not negative"),
        (VLLM, "static_batch", "pad_finished", "yes", "true or false"),
        (LLAMA, "llama_slots", "n_ubatch", "0", "a whole number of 1 or more"),
        (LLAMA, "llama_slots", "n_batch", "2", "4 or more, a token for each slot"),
    ],
)
def test_a_value_that_a_policy_cannot_take_is_refused_with_what_it_can(
    variant: Variant, scheduler: str, option: str, value: str, allowed: str
) -> None:
    with pytest.raises(UsageError) as refused:
        compose.deploy(replace(variant, scheduler=f"{scheduler}:{option}={value}"))
    said = compose.option_value(value)
    assert str(refused.value) == f"scheduler {scheduler}: {option} has to be {allowed}, not {said!r}"


def test_every_option_of_every_policy_is_checked() -> None:
    for name in compose.scheduler_names():
        kind = policy_class("schedulers", "scheduler", name, is_scheduler)
        for option in [field.name for field in fields(kind) if field.init]:
            with pytest.raises(UsageError, match=f"scheduler {name}: {option} has to be"):
                kind(**{option: "nonsense"})


def test_what_a_variant_says_reaches_its_engine() -> None:
    said = replace(VLLM, version="0.10", kv_type="fp8", weights="fp8", gpus=2, options={"tensor_parallel_size": 2})
    deployment = compose.deploy(said)
    assert deployment.version.startswith("0.10")
    assert len(deployment.gpus) == 2
    assert deployment.traits.kv_bytes_per_element == 1.0
    assert deployment.traits.weights == "fp8"
    with pytest.raises(UnknownName):
        compose.deploy(replace(VLLM, kv_type="fp9"))


def test_a_model_runs_in_what_its_engines_users_run_unless_it_is_published_in_something_else() -> None:
    assert compose.default_weights("ollama") == "q4_k_m"
    assert compose.default_weights("vllm") == "bf16"
    for name in catalog.names("model"):
        model = catalog.model(name)
        if not model.native_weights:
            assert compose.default_weights("vllm", model) == "bf16"
            assert compose.default_weights("ollama", model) == "q4_k_m"
        else:
            assert compose.default_weights("vllm", model) == model.native_weights
            usual = model.native_weights if catalog.is_gguf(model.native_weights) else "q4_k_m"
            assert compose.default_weights("ollama", model) == usual


# -- demands


@given(st.integers(1, 200), st.none() | st.integers(1, 500))
def test_a_closed_load_is_so_many_users_with_a_budget_of_their_number(users: int, requests: int | None) -> None:
    asked = compose.traffic(Demand(requests=requests))
    budget, load = closed_budget(users, requests), asked.workload(users)
    assert isinstance(load, ClosedLoop)
    assert (load.users, load.requests, load.warmup, load.cooldown) == (
        users,
        budget.total,
        budget.warmup,
        budget.cooldown,
    )
    assert asked.budget(asked.load(users)) == budget


@given(st.integers(1, 50), st.none() | st.integers(1, 500))
def test_an_open_load_has_a_budget_of_its_rate_whatever_the_users(rate: int, requests: int | None) -> None:
    asked = compose.traffic(Demand(load=f"poisson:{rate}", requests=requests))
    budget = open_budget(rate, requests)
    for users in (None, 7):
        load = asked.workload(users)
        assert isinstance(load, OpenLoop)
        assert (load.requests, load.warmup, load.cooldown) == (budget.total, budget.warmup, budget.cooldown)


@pytest.mark.parametrize(("text", "count"), [("burst", 9), ("offline", 9), ("single", 1), ("burst:4", 4)])
def test_all_at_once_is_measured_whole(text: str, count: int) -> None:
    load = compose.traffic(Demand(load=text)).workload(9)
    assert isinstance(load, Burst)
    assert (load.requests, load.warmup, load.cooldown) == (count, 0, 0)


@pytest.mark.parametrize(
    ("load", "given"),
    [
        ("burst", {"requests": 100}),
        ("offline:4", {"requests": 100}),
        ("single", {"requests": 2}),
        ("poisson:2", {"think": "10s"}),
        ("burst:3", {"think": "10s"}),
    ],
)
def test_what_a_load_does_not_use_is_refused(load: str, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(UsageError, match=f"--load {load} does not use --{name}, .*: leave --{name} out"):
        compose.traffic(Demand(load=load, **given))


@pytest.mark.parametrize("text", ["closed", "burst", "Closed "])
def test_a_load_that_counts_users_needs_their_number(text: str) -> None:
    with pytest.raises(UsageError, match="--users 32"):
        compose.traffic(Demand(load=text)).workload(None)


def test_lengths_given_win_over_the_workloads_one_by_one() -> None:
    usual = compose.traffic(Demand(workload="rag"))
    one = compose.traffic(Demand(workload="rag", prompt_tokens="33"))
    other = compose.traffic(Demand(workload="rag", output_tokens="33"))
    assert (one.prompt.mean, one.output) == (33, usual.output)
    assert (other.prompt, other.output.mean) == (usual.prompt, 33)


def test_bounds_are_presets_or_pairs() -> None:
    assert [compose.slo(name.upper()) for name in SLO_PRESETS] == list(SLO_PRESETS.values())
    assert compose.slo("ttft=500ms, E2E=30s") == Slo(ttft_s=0.5, e2e_s=30.0)
    for text in ("chatty", "ttfb=1s"):
        with pytest.raises(UnknownName):
            compose.slo(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat", "ttft=1s,tpot=50ms"),
        ("interactive", "ttft=450ms,tpot=40ms"),  # this one and the next are MLPerf's for Llama 2 70B
        ("server", "ttft=2s,tpot=200ms"),
        ("rag", "ttft=3s,tpot=100ms"),
        ("code", "ttft=500ms,tpot=30ms"),
        ("agent", "e2e=30s"),
    ],
)
def test_a_preset_asks_what_its_bounds_written_out_ask(name: str, text: str) -> None:
    assert compose.slo(name) == compose.slo(text)


# -- names


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("0.5", 0.5), ("1e3", 1000.0), ("TRUE", True), ("false", False), ("limit", "limit")]
)
def test_an_option_is_a_number_or_a_truth_where_it_reads_as_one(text: str, value: Any) -> None:
    found = compose.option_value(text)
    assert (found, type(found)) == (value, type(value))


def of_scheduler(name: str) -> Any:
    return compose.deploy(replace(VLLM, scheduler=name))


@pytest.mark.parametrize("find", [compose.engine, compose.router, of_scheduler])
@pytest.mark.parametrize("name", ["nothing", "option_table", "slot_choice", "least"])
def test_a_name_of_nothing_is_unknown_though_a_file_has_it(find: Callable[[str], Any], name: str) -> None:
    with pytest.raises(UnknownName):
        find(name)


def test_every_engine_and_router_that_is_listed_is_known() -> None:
    for name in compose.engine_names():
        assert hasattr(compose.engine(name.upper()), "deploy")
    assert {fold(compose.router(name.title())().__class__.__name__) for name in compose.router_names()} == {
        fold(name) for name in compose.router_names()
    }


def test_what_is_listed_as_a_scheduler_holds_one() -> None:
    assert {"fcfs", "vllm_v1", "llama_slots", "static_batch"} <= set(compose.scheduler_names())
    assert not {"slot_choice", "ubatches", "one_pass", "llama_tasks", "prompt_cache"} & set(compose.scheduler_names())


@pytest.mark.parametrize("name", ["nowhere:Thing", "sim.batch:Nothing", ":x"])
def test_a_class_outside_that_cannot_be_loaded_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be loaded"):
        compose.engine(name)


# -- runs and their step times


def one_step(factor: float, **said: Any) -> int:
    variant = replace(VLLM, profile="datasheet", **said)
    cost = compose.step_cost(variant, compose.deploy(variant), factor)
    return cost.stride(Batch(8, (Pass(8, 4000, 8, outputs=8, padded=8),), context=3992)).first_ps


@given(st.floats(0.5, 2))
def test_steps_thought_slower_are_slower_by_that_factor(factor: float) -> None:
    assert one_step(factor) == pytest.approx(factor * one_step(1.0), abs=1)


@pytest.mark.parametrize("table", ["rand78m-llamacpp-split", "rand78m-vllm-seqs128_b2048"])
def test_a_table_of_measured_steps_takes_the_place_of_every_profile_and_has_no_band(table: str) -> None:
    path = str(files("calibration").joinpath("measurements", f"{table}.json"))
    variant = replace(VLLM, step_table=path, profile="nowhere")
    deployment = compose.deploy(variant)
    batch = Batch(1, (Pass(1, 200, 1, outputs=1, padded=1),), context=199)
    cost = compose.step_cost(variant, deployment)
    assert cost.stride(batch) == TableCost(load(path)).stride(batch)
    assert compose.step_band(variant, deployment) == (1, 1)


def test_steps_are_taken_as_they_are_thought_unless_told_otherwise() -> None:
    variant = replace(VLLM, profile="datasheet")
    deployment = compose.deploy(variant)
    traffic = compose.traffic(Demand())
    assert one_step(1.0) == one_step(2.0) // 2
    batch = Batch(1, (Pass(1, 100, 1, outputs=1, padded=1),), context=99)
    told = compose.step_cost(variant, deployment, 1.0).stride(batch)
    assert compose.step_cost(variant, deployment).stride(batch) == told
    assert compose.scenario(variant, deployment, traffic, 1, 0).cost.stride(batch) == told


def test_a_run_is_what_its_variant_and_its_demand_say() -> None:
    variant = replace(VLLM, replicas=3, router="least_loaded", profile="datasheet")
    deployment = compose.deploy(variant)
    traffic = compose.traffic(Demand(timeout_s=7.0, retries=2))
    made = compose.scenario(variant, deployment, traffic, 5, 11)
    assert (made.replicas, made.seed, made.patience.timeout_s, made.patience.retries) == (3, 11, 7.0, 2)
    assert type(made.router()).__name__ == "LeastLoaded"
    assert made.workload.requests == closed_budget(5).total
    slow = compose.scenario(variant, deployment, traffic, 5, 11, 1.5).cost
    batch = Batch(1, (Pass(1, 100, 1, outputs=1, padded=1),), context=99)
    assert slow.stride(batch).first_ps == pytest.approx(1.5 * made.cost.stride(batch).first_ps, abs=1)


def test_users_who_say_nothing_of_it_wait_for_ever_and_ask_once() -> None:
    made = compose.scenario(VLLM, compose.deploy(VLLM), compose.traffic(Demand()), 1, 0)
    assert made.patience == Patience(timeout_s=None, retries=0)


def test_what_nobody_has_fitted_has_no_narrower_band_than_what_was_measured() -> None:
    deployment = compose.deploy(VLLM)
    low, high = compose.step_band(VLLM, deployment)
    assert low < 1 < high
    assert compose.profile_of(VLLM) == compose.profile_of(replace(VLLM, profile=compose.PROFILE))


swept = partial(compose.sweep, asked=Slo(ttft_s=0.2), seeds=1)


def test_a_sweep_has_a_row_for_every_variant_and_load_in_order() -> None:
    pair = [replace(VLLM, id=name, profile="datasheet") for name in ("b", "a")]
    rows = swept(pair, Demand(requests=20, prompt_tokens="64", output_tokens="8"), "4,1")
    assert [(row["variant"], row["users"]) for row in rows] == [("a", 1), ("a", 4), ("b", 1), ("b", 4)]
    assert [row["keeps"] for row in rows] == [True] * 4
    (hopeless,) = compose.sweep(pair[:1], Demand(requests=20), "1", Slo(ttft_s=1e-6), seeds=1)
    assert hopeless["keeps"] is False


@pytest.mark.parametrize("load", ["closed:8", "poisson:2", "single"])
def test_a_sweep_by_users_refuses_a_load_that_takes_none(load: str) -> None:
    with pytest.raises(UsageError, match=f"load '{load}' states its own size"):
        swept([VLLM], Demand(load=load), "1,2,4")


def test_variants_of_the_same_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two variants are called 'vllm': give each an id of its own"):
        swept([VLLM, replace(VLLM, gpu="l4")], Demand(requests=20), "1")
