"""Ollama by version: defaults, memory, the queue before a load, and what a user is told."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.caches.ollama_cells import OllamaCells
from policies.caches.slots import SlotCache
from policies.caches.unified import UnifiedCache
from policies.engines import ollama
from policies.routers.round_robin import RoundRobin
from policies.schedulers.llama_runner import LlamaRunner
from policies.schedulers.ollama_runner import OllamaRunner
from policies.schedulers.ollama_slots import OllamaSlots
from sim.batch import Batch
from sim.clock import PS_PER_S
from sim.cost import Stride
from sim.engine import Deployment
from sim.errors import DoesNotFit, NotSupported, UnknownName, UsageError
from sim.hardware import GIB, MIB, Gpu, Host, Model
from sim.journal import ENDS
from sim.request import End, Request
from sim.scenario import Patience, Result, Scenario
from sim.simulate import simulate
from workloads.lengths import parse_lengths
from workloads.open_loop import Burst
from workloads.users import ClosedLoop


def card(gib: float, **changes: Any) -> Gpu:
    facts = {"vendor": "nvidia", "memory_class": "gddr", "bandwidth_gbs": 288.0, "fp16_tflops": 44.0, "pcie_gbs": 12.5}
    return Gpu(id="card", name="Card", memory_bytes=round(gib * GIB), **{**facts, **changes})


def host(gib: float = 64) -> Host:
    return Host("host", "Host", round(gib * GIB), 89.6, 1.2)


def model(family: str = "llama", **changes: Any) -> Model:
    facts = {
        "parameters": 8_030_261_248,
        "active_parameters": 8_030_261_248,
        "layers": 32,
        "hidden": 4096,
        "heads": 32,
        "kv_heads": 8,
        "head_dim": 128,
        "vocab": 128_256,
        "max_context": 131_072,
    }
    return Model(id="m-8b", name="Model 8B", family=family, **{**facts, **changes})


QWEN3 = model("qwen3", parameters=8_190_735_360, layers=36, vocab=151_936, max_context=40_960)
RTX_4060_TI = card(16380 / 1024)


def deploy(*gpus: Gpu, of: Model | None = None, on: Host | None = None, **options: Any) -> Deployment:
    settings = {"weights": "q4_k_m", "weight_bits": 4.8944, **options}
    return ollama.deploy(gpus or (card(24),), on or host(), of or model(), settings)


def deploy_with(options: dict[str, Any]) -> Deployment:
    return ollama.deploy((card(24),), host(), model(), {"weights": "q4_k_m", "weight_bits": 4.8944, **options})


def last_that_fits(gpu: Gpu, of: Model, **options: Any) -> int:
    counts = range(1, 120)
    return max(n for n in counts if not deploy(gpu, of=of, num_parallel=n, **options).memory.layers_on_host)


# -- defaults by version


@pytest.mark.parametrize(
    ("version", "parallel", "context"),
    [
        ("0.1.33", 1, 2048),
        ("0.2", 4, 2048),
        ("0.3.14", 4, 2048),
        ("0.6.6", 4, 2048),
        ("0.6.7", 2, 4096),
        ("0.9.9", 2, 4096),
        ("0.10", 1, 4096),
        ("0.12", 1, 4096),
        ("0.15.4", 1, 4096),
        ("0.15.5", 1, 32_768),
        ("0.30", 1, 32_768),
        ("v0.32.15", 1, 32_768),
    ],
)
def test_slots_and_context_are_those_of_the_version(version: str, parallel: int, context: int) -> None:
    options = deploy(card(24), version=version).options
    assert (options["num_parallel"], options["num_ctx"]) == (parallel, context)


@pytest.mark.parametrize(("gib", "context"), [(22.9, 4096), (23, 32_768), (46.9, 32_768), (47, 131_072)])
def test_from_0_15_5_the_context_follows_the_video_memory_up_to_the_models_own(gib: float, context: int) -> None:
    assert deploy(card(gib)).options["num_ctx"] == context
    halves = (card(gib / 2), card(gib / 2))
    assert deploy(*halves).options["num_ctx"] == context


def test_the_context_is_never_longer_than_the_models() -> None:
    short = model(max_context=2000)
    assert deploy(of=short).options["num_ctx"] == 2000
    asked = deploy(of=short, num_ctx=9000)
    assert asked.options["num_ctx"] == 2000
    assert "2000 tokens" in asked.warnings[0]


@pytest.mark.parametrize(("version", "most"), [("0.5", 4), ("0.9", 2)])
def test_automatic_slots_fall_to_one_when_all_of_them_do_not_fit(version: str, most: int) -> None:
    assert deploy(card(24), version=version, num_ctx=8192).options["num_parallel"] == most
    small = deploy(card(6), version=version, num_ctx=8192)
    assert small.options["num_parallel"] == 1
    assert f"{most} slots of 8192 tokens do not fit" in small.warnings[0]


def test_automatic_slots_fall_to_one_before_a_model_is_spread_over_cards() -> None:
    options: dict[str, Any] = {"version": "0.5", "num_ctx": 8192}
    alone = [deploy(card(gib), num_parallel=1, **options).memory.layers_on_host == 0 for gib in range(40)]
    for gib, fits in enumerate(alone):
        pair = deploy(card(gib), card(gib), **options)
        together = deploy(card(gib), card(gib), num_parallel=4, **options).memory
        many = deploy(card(gib), num_parallel=4, **options).memory.layers_on_host == 0
        if fits and not many:
            assert pair.memory == deploy(card(gib), num_parallel=1, **options).memory
            assert ("on one GPU, so there is one" in pair.warnings[0]) is (together.layers_on_host == 0)
        elif together.layers_on_host == 0:
            assert (pair.memory, pair.warnings) == (together, ())
    assert False in alone
    assert True in alone


def test_a_version_between_two_listed_ones_behaves_as_the_older() -> None:
    for older, between in (("0.2.0", "0.3.9"), ("0.11.9", "0.12.3"), ("0.18.0", "0.24.0")):
        first, second = deploy(version=older), deploy(version=between)
        assert (first.options, first.scheduler, first.traits) == (second.options, second.scheduler, second.traits)


def test_versions_are_listed_from_the_first_that_serves_in_parallel_and_the_newest_is_the_default() -> None:
    assert (ollama.VERSIONS[0], ollama.VERSIONS[-1]) == ("0.1.33", "0.32.10")
    assert deploy().version == "0.32.10"
    assert "newer than what is known" in deploy(version="0.33").warnings[0]
    with pytest.raises(NotSupported, match=r"0\.1\.33"):
        deploy(version="0.1.32")
    with pytest.raises(UnknownName):
        deploy(version="latest")


# -- what runs


@pytest.mark.parametrize(
    ("version", "family", "sampler"),
    [
        ("0.3", "llama", "penalised"),
        ("0.6.6", "qwen3", "penalised"),
        ("0.6.6", "gemma3", "own"),
        ("0.17.4", "llama", "penalised"),
        ("0.17.7", "llama", "plain"),
        ("0.18.0", "llama", "penalised"),
        ("0.32.9", "gemma3", "penalised"),
        ("0.32.10", "gemma3", "plain"),
    ],
)
def test_repetition_is_punished_where_the_release_does_so_by_default(version: str, family: str, sampler: str) -> None:
    assert deploy(of=model(family), version=version).traits.sampler == sampler


@pytest.mark.parametrize(
    ("version", "family", "runner", "cells", "lookahead"),
    [
        ("0.3", "llama", OllamaSlots, UnifiedCache, False),
        ("0.5", "llama", LlamaRunner, OllamaCells, False),
        ("0.12.4", "llama", LlamaRunner, OllamaCells, False),
        ("0.6", "gemma3", OllamaRunner, OllamaCells, False),
        ("0.11.9", "gemma3", OllamaRunner, OllamaCells, True),
        ("0.11.9", "qwen3", LlamaRunner, OllamaCells, False),
        ("0.12.4", "qwen3", OllamaRunner, OllamaCells, True),
        ("0.32", "qwen3", OllamaSlots, SlotCache, False),
    ],
)
def test_version_and_family_choose_the_runner(
    version: str, family: str, runner: type[object], cells: type[object], lookahead: bool
) -> None:
    deployment = deploy(of=model(family), version=version)
    assert type(deployment.scheduler) is runner
    assert type(deployment.cache()) is cells
    assert deployment.scheduler.pipelined is lookahead
    assert deployment.traits.overlaps_host is lookahead
    assert deployment.traits.unified_cells is (cells is not SlotCache)


def test_the_newer_runner_can_be_asked_for() -> None:
    assert isinstance(deploy(version="0.6", new_engine="on").scheduler, OllamaRunner)


@pytest.mark.parametrize("family", ["mllama", "qwen3next", "lfm2", "bert"])
def test_some_families_are_served_one_at_a_time_whatever_is_asked(family: str) -> None:
    deployment = deploy(of=model(family), num_parallel=4)
    assert deployment.memory.slots == deployment.door.permits == 1
    assert f"num_parallel 4 is ignored: Ollama serves {family} models" in deployment.warnings[0]
    assert deploy(of=model(family)).warnings == ()


@pytest.mark.parametrize(
    ("gib", "parallel", "context", "batch"),
    [
        (80, 1, 4096, 512),
        (80, 2, 4096, 1024),
        (80, 8, 4096, 1024),
        (80, 16, 4096, 2048),
        (19, 16, 4096, 1024),
        (16, 16, 4096, 512),
    ],
)
def test_from_0_30_more_slots_bring_a_larger_batch_as_long_as_memory_is_left(
    gib: float, parallel: int, context: int, batch: int
) -> None:
    settled = deploy(card(gib), num_parallel=parallel, num_ctx=context)
    assert settled.options["num_batch"] == batch
    assert isinstance(settled.scheduler, OllamaSlots)
    assert settled.scheduler.n_batch == settled.scheduler.n_ubatch == batch


def test_before_0_30_the_batch_is_512_and_an_asked_batch_always_holds() -> None:
    assert deploy(card(80), version="0.24", num_parallel=16, num_ctx=4096).options["num_batch"] == 512
    assert deploy(card(80), num_parallel=16, num_ctx=4096, num_batch=64).options["num_batch"] == 64


@pytest.mark.parametrize(("gib", "context", "batch"), [(8, 8192, 256), (8, 4096, 512), (9, 8192, 512)])
def test_without_flash_attention_the_batch_stays_small(gib: float, context: int, batch: int) -> None:
    options = deploy(card(gib), num_ctx=context, flash_attention=False, of=model(layers=4)).options
    assert options["num_batch"] == batch


# -- memory


@given(slots=st.integers(1, 40), gib=st.floats(6, 80), version=st.sampled_from(ollama.VERSIONS))
def test_every_byte_is_either_on_the_gpu_or_on_the_host_and_the_gpu_holds_its_part(
    slots: int, gib: float, version: str
) -> None:
    gpu = card(gib)
    memory = deploy(gpu, version=version, num_parallel=slots, num_ctx=2048, on=host(512)).memory
    assert memory.weight_bytes + memory.kv_bytes + memory.scratch_bytes <= gpu.memory_bytes
    cells = memory.kv_bytes + memory.host_kv_bytes
    assert cells == pytest.approx(model().kv_bytes_per_token() * 2048 * slots)
    table = model().vocab * model().hidden
    weights = (model().parameters - table) * 4.8944 / 8
    assert memory.weight_bytes + memory.host_weight_bytes == pytest.approx(weights)
    assert (memory.layers_on_host == 0) == (memory.host_weight_bytes == 0)
    assert 0 <= memory.layers_on_host <= model().layers + 1


@given(gib=st.integers(8, 60), version=st.sampled_from(["0.3", "0.9", "0.14", "0.32"]))
def test_slots_that_fit_do_not_fall_with_memory_and_layers_on_the_host_do_not_rise(gib: int, version: str) -> None:
    small, large = (
        [deploy(card(size), version=version, num_ctx=4096, num_parallel=n, on=host(512)) for n in (1, 8, 16, 32)]
        for size in (gib, gib + 1)
    )
    for less, more in zip(small, large, strict=True):
        assert more.memory.layers_on_host <= less.memory.layers_on_host


def test_fifteen_slots_of_qwen3_8b_fit_on_16_gib_and_twenty_two_do_not() -> None:
    for version in ("0.14", "0.32"):
        assert 15 <= last_that_fits(RTX_4060_TI, QWEN3, version=version, num_ctx=4096) < 22


def test_the_warning_about_layers_on_the_cpu_names_the_slots_that_fit() -> None:
    fits = last_that_fits(RTX_4060_TI, QWEN3, num_ctx=4096)
    deployment = deploy(RTX_4060_TI, of=QWEN3, num_ctx=4096, num_parallel=fits + 5)
    (told,) = deployment.warnings
    assert told.startswith(f"{deployment.memory.layers_on_host} of 37 layers are on the CPU: every step is slower")
    assert told.endswith(f"--num-parallel {fits} fits")
    assert deploy(RTX_4060_TI, of=QWEN3, num_ctx=4096, num_parallel=fits).warnings == ()


def test_when_one_slot_is_too_many_the_warning_names_a_context_or_the_missing_memory() -> None:
    (told,) = deploy(card(8), num_ctx=32_768).warnings
    advised = int(told.split("--num-ctx ")[1].split()[0])
    assert deploy(card(8), num_ctx=advised).memory.layers_on_host == 0
    assert deploy(card(8), num_ctx=advised * 2).memory.layers_on_host > 0
    (told,) = deploy(card(4), num_ctx=4096).warnings
    assert "GiB more video memory" in told


def test_a_default_context_that_grew_with_the_card_costs_eight_times_the_cells() -> None:
    before, after = (deploy(card(24), version=version).memory for version in ("0.15.4", "0.15.5"))
    assert after.kv_bytes == 8 * before.kv_bytes


def test_flash_attention_saves_the_scores_of_all_cells() -> None:
    on, off = (deploy(card(24), version="0.14", num_parallel=8, flash_attention=fa).memory for fa in (True, False))
    assert on.scratch_bytes == 4 * 512 * (128_256 + 4096)
    assert off.scratch_bytes == 4 * 512 * (8 * 4096 * 32 + 4096)


def test_a_quantised_cache_holds_more_slots_and_needs_flash_attention() -> None:
    half, whole = (
        last_that_fits(RTX_4060_TI, QWEN3, version="0.14", num_ctx=4096, kv_cache_type=kv) for kv in ("q8_0", "f16")
    )
    assert half > 1.8 * whole
    ignored = deploy(version="0.14", kv_cache_type="q8_0")
    assert ignored.traits.kv_bytes_per_element == 2
    assert "needs flash attention" in ignored.warnings[0]
    assert deploy(kv_type="q8_0").traits.kv_bytes_per_element == 1.0625


def test_what_one_gpu_cannot_hold_goes_to_two_before_it_goes_to_the_host() -> None:
    one, two = deploy(card(24), num_parallel=6), deploy(card(24), card(24), num_parallel=6, num_ctx=32_768)
    assert one.memory.layers_on_host > 0
    assert two.memory.layers_on_host == 0
    small = deploy(card(24), card(24), num_ctx=4096)
    assert small.memory.scratch_bytes == deploy(card(24), num_ctx=4096).memory.scratch_bytes


def test_layers_asked_for_are_put_on_the_gpu_or_the_load_fails() -> None:
    memory = deploy(card(24), num_gpu=20, num_ctx=4096).memory
    assert memory.layers_on_host == 13
    assert memory.host_kv_bytes == 12 * model().kv_bytes_per_token() * 4096 // 32
    assert deploy(card(24), num_gpu=999, num_ctx=4096).memory.layers_on_host == 0
    with pytest.raises(DoesNotFit, match="num_gpu 33") as refused:
        deploy(card(8), num_gpu=33, num_ctx=65_536)
    assert refused.value.missing_bytes > 0


def test_what_neither_gpu_nor_host_holds_does_not_load_and_says_how_much_is_missing() -> None:
    with pytest.raises(DoesNotFit, match="missing") as refused:
        deploy(card(8), on=host(8), num_parallel=32, num_ctx=8192)
    just_enough = host(8 + refused.value.missing_bytes / GIB + 1e-6)
    assert deploy(card(8), on=just_enough, num_parallel=32, num_ctx=8192).memory.layers_on_host > 0


def test_one_memory_for_cpu_and_gpu_is_not_counted_twice() -> None:
    apple = card(24, vendor="apple", memory_class="unified")
    with pytest.raises(DoesNotFit):
        deploy(apple, on=host(32), num_parallel=8, num_ctx=32_768)
    assert deploy(card(24), on=host(32), num_parallel=8, num_ctx=32_768).memory.layers_on_host > 0


def test_upstreams_server_rounds_a_slot_up_to_256_cells() -> None:
    assert deploy(num_ctx=5000, num_parallel=3).memory.kv_tokens == 3 * 5120
    assert deploy(num_ctx=5000, num_parallel=3, version="0.24").memory.kv_tokens == 3 * 5000


# -- options


@pytest.mark.parametrize("name", ["keep_alive", "OLLAMA_KEEP_ALIVE", "num-keep", "max_loaded_models"])
def test_an_option_that_is_not_modelled_is_refused_by_name(name: str) -> None:
    with pytest.raises(NotSupported, match="not modelled"):
        deploy_with({name: 5})


@pytest.mark.parametrize(
    "options",
    [
        {"num_slots": 4},
        {"num_parallel": 0},
        {"num_parallel": "many"},
        {"num_ctx": -1},
        {"flash_attention": "maybe"},
        {"kv_cache_type": "int3"},
        {"kv_cache_type": "q5_1", "version": "0.14"},
        {"kv_cache_type": "q8_0", "version": "0.3"},
        {"max_queue": 4, "version": "0.1.33"},
        {"new_engine": True},
        {"new_engine": True, "version": "0.5"},
        {"context_shift": False, "version": "0.3"},
        {"num_batch": 3, "num_parallel": 4},
    ],
)
def test_an_option_without_meaning_in_this_version_is_a_usage_error(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        deploy_with(options)


def test_options_are_known_by_every_spelling() -> None:
    for name in ("num_parallel", "num-parallel", "OLLAMA_NUM_PARALLEL", "NumParallel"):
        assert deploy_with({name: "3"}).memory.slots == 3
    assert deploy(OLLAMA_CONTEXT_LENGTH=1024).options["num_ctx"] == 1024


def test_the_smallest_context_and_batch_still_serve() -> None:
    for version in ("0.3", "0.14", "0.32"):
        deployment = deploy(version=version, num_parallel=1, num_ctx=1, num_batch=1)
        assert deployment.options["num_ctx"] == 4
        outcome = ends(run(deployment, Burst(3, parse_lengths("2"), parse_lengths("2"))))
        assert outcome[End.LENGTH] == 3


# -- over-long prompts and answers


def test_upstreams_server_gets_an_over_long_prompt_cut_to_half_its_context() -> None:
    core = deploy(num_ctx=1024).core()
    request = Request(0, 5000, 4000)
    assert core.submit(request)
    assert request.prompt_tokens == 1024 - 510
    assert request.output_tokens == 4000


def test_without_context_shift_an_answer_of_upstreams_server_ends_with_its_slot() -> None:
    request = Request(0, 1000, 4000)
    assert deploy(num_ctx=1024, context_shift=False).core().submit(request)
    assert request.output_tokens == 24


@pytest.mark.parametrize(("version", "shifts"), [("0.24", True), ("0.32", False)])
def test_upstreams_server_is_not_asked_to_shift_the_context_of_deepseek2(version: str, shifts: bool) -> None:
    assert deploy(version=version).options["context_shift"] is True
    assert deploy(of=model("deepseek2"), version=version).options["context_shift"] is shifts
    assert deploy(of=model("deepseek2"), version=version, context_shift=True).options["context_shift"] is True


@pytest.mark.parametrize("option", ["truncate", "context_shift"])
def test_without_truncation_the_server_refuses_it(option: str) -> None:
    core = deploy_with({"num_ctx": 1024, option: False}).core()
    request = Request(0, 5000, 4)
    if core.submit(request):
        batch = core.schedule()
        assert batch is not None
        assert list(batch.rejected) == [request]
    assert request.end is End.REJECTED


# -- the queue


class Cost:
    """A millisecond for every row, ten for every pass."""

    trust = "datasheet"

    def stride(self, batch: Batch) -> Stride:
        rows = sum(one.decodes + one.prefill_tokens for one in batch.passes)
        return Stride((10 * len(batch.passes) + rows) * 10**9)


def run(deployment: Deployment, workload: Any, **changes: Any) -> Result:
    return simulate(Scenario(deployment, Cost(), workload, RoundRobin, **changes))


def ends(result: Result) -> Counter[End]:
    return Counter(ENDS[number] for number in result.requests["end"].tolist())


@given(
    version=st.sampled_from(["0.3", "0.5", "0.14", "0.32"]),
    slots=st.integers(1, 6),
    users=st.integers(1, 60),
    max_queue=st.integers(0, 3),
)
def test_a_warm_model_answers_everybody_and_never_503_at_any_load(
    version: str, slots: int, users: int, max_queue: int
) -> None:
    deployment = deploy(of=model("qwen3"), version=version, num_parallel=slots, num_ctx=2048, max_queue=max_queue)
    load = ClosedLoop(users, users + 20, parse_lengths("uniform:1,600"), parse_lengths("uniform:1,40"))
    result = run(deployment, load)
    assert ends(result) == {End.LENGTH: users + 20}
    assert result.unanswered == 0


@pytest.mark.parametrize(("burst", "max_queue"), [(1, 512), (5, 2), (600, 512), (20, 0)])
def test_a_cold_start_keeps_one_in_hand_and_max_queue_waiting_and_turns_the_rest_away(
    burst: int, max_queue: int
) -> None:
    deployment = deploy(num_ctx=2048, num_parallel=4, cold=True, max_queue=max_queue)
    outcome = ends(run(deployment, Burst(burst, parse_lengths("64"), parse_lengths("8"))))
    assert outcome[End.REJECTED] == max(0, burst - 1 - max_queue)
    assert outcome[End.LENGTH] == burst - outcome[End.REJECTED]


def test_before_0_30_whoever_comes_during_a_load_waits_inside_uncounted() -> None:
    deployment = deploy(version="0.24", num_ctx=2048, cold=True, max_queue=2)
    assert ends(run(deployment, Burst(30, parse_lengths("64"), parse_lengths("8")))) == {End.LENGTH: 30}


def test_a_cold_start_waits_for_the_weights_to_be_read() -> None:
    cold = deploy(num_ctx=2048, cold=True)
    assert cold.door.load_s == pytest.approx(cold.memory.weight_bytes / 3e9)
    slow_link = deploy(card(24, pcie_gbs=1.5), num_ctx=2048, cold=True)
    assert slow_link.door.load_s == pytest.approx(2 * cold.door.load_s)
    first = run(cold, Burst(1, parse_lengths("64"), parse_lengths("8"))).requests
    assert first["entered_ps"][0] == round(cold.door.load_s * PS_PER_S)
    assert deploy(num_ctx=2048).door.load_s == 0


@given(
    version=st.sampled_from(["0.3", "0.5", "0.11.8", "0.14", "0.32"]),
    slots=st.integers(1, 4),
    timeout=st.floats(0.05, 3.0),
    seed=st.integers(0, 9),
)
def test_strides_equal_single_steps_when_clients_give_up_and_try_again(
    version: str, slots: int, timeout: float, seed: int
) -> None:
    deployment = deploy(of=model("qwen3"), version=version, num_parallel=slots, num_ctx=512)
    load = ClosedLoop(6, 25, parse_lengths("uniform:1,600"), parse_lengths("uniform:1,90"))
    patience = Patience(timeout_s=timeout, retries=1, backoff_s=0.1)
    strides, steps = (
        run(deployment, load, patience=patience, seed=seed, replicas=2, stride_limit=limit).requests
        for limit in (None, 1)
    )
    assert {name: column.tolist() for name, column in strides.items()} == {
        name: column.tolist() for name, column in steps.items()
    }
    assert len(set(strides["id"].tolist())) == 25


def test_the_context_of_a_cuda_card_costs_457_mib() -> None:
    """One slot more fits exactly when its cells do, beside weights, compute buffer and context."""
    slot = QWEN3.kv_bytes_per_token() * 4096
    fits = last_that_fits(RTX_4060_TI, QWEN3, version="0.14", num_ctx=4096)
    memory = deploy(RTX_4060_TI, of=QWEN3, version="0.14", num_ctx=4096, num_parallel=fits).memory
    left = RTX_4060_TI.memory_bytes - 457 * MIB - memory.weight_bytes - memory.scratch_bytes - memory.kv_bytes
    assert 0 <= left < slot
