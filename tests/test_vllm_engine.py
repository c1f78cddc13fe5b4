"""vLLM is deployed as its own start-up would: defaults by card and version, blocks, refusals in words."""

import pickle
import re
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog
from calibration.physics import step_cost
from calibration.profile import load
from calibration.tables import steptable
from calibration.tables.tablecost import TableCost
from policies.caches.paged import PagedCache
from policies.caches.prefix import PrefixCache
from policies.engines import vllm
from policies.engines.vllm_defaults import RELEASES, graph_sizes
from policies.schedulers.vllm_v1 import VllmV1, padded_rows
from sim.clock import PS_PER_MS, PS_PER_S, Clock
from sim.core import Core
from sim.cost import StepCost
from sim.engine import Deployment
from sim.errors import DoesNotFit, NotSupported, UnknownName, UsageError
from sim.hardware import GIB, Gpu
from sim.journal import Journal
from sim.replica import Replica
from sim.request import Request

LLAMA, QWEN = catalog.model("llama-3.1-8b"), catalog.model("qwen2-7b")
A100 = catalog.gpu("a100-40g")


def deploy(gpu: str | Gpu = "a100-40g", model: str = "llama-3.1-8b", count: int = 1, **options: Any) -> Deployment:
    card = catalog.gpu(gpu) if isinstance(gpu, str) else gpu
    return vllm.deploy((card,) * count, catalog.host("server-ddr4"), catalog.model(model), options)


def blocks(*args: Any, **options: Any) -> int:
    count = deploy(*args, **options).memory.blocks
    assert count is not None
    return count


def scheduler(deployment: Deployment) -> VllmV1:
    assert isinstance(deployment.scheduler, VllmV1)
    return deployment.scheduler


# -- defaults


@pytest.mark.parametrize(
    ("gpu", "version", "tokens", "sequences"),
    [
        ("a100-40g", "0.32", 2048, 256),
        ("a100-80g", "0.32", 2048, 256),
        ("a100-80g", "0.8", 8192, 1024),
        ("h100-80g-sxm", "0.32", 8192, 1024),
        ("rtx-4090", "0.32", 2048, 256),
        ("b200-sxm", "0.32", 16384, 1024),
        ("b200-sxm", "0.14", 8192, 1024),
    ],
)
def test_the_batch_bounds_follow_the_card(gpu: str, version: str, tokens: int, sequences: int) -> None:
    options = deploy(gpu, version=version, max_model_len=8192).options
    assert (options["max_num_batched_tokens"], options["max_num_seqs"]) == (tokens, sequences)


@pytest.mark.parametrize(
    ("version", "utilization", "ahead", "whole"),
    [
        ("0.8", 0.9, False, False),
        ("0.11", 0.9, False, False),
        ("0.14", 0.9, True, False),
        ("0.19.1", 0.9, True, False),
        ("v0.25.1", 0.92, True, True),
        ("0.32", 0.92, True, True),
        ("0.99", 0.92, True, True),
    ],
)
def test_a_release_has_the_defaults_of_its_time(version: str, utilization: float, ahead: bool, whole: bool) -> None:
    deployment = deploy(version=version)
    assert deployment.options["gpu_memory_utilization"] == utilization
    assert scheduler(deployment).pipelined is deployment.traits.overlaps_host is ahead
    assert scheduler(deployment).scheduler_reserve_full_isl is whole


def test_the_newest_release_is_the_default() -> None:
    assert deploy().version == vllm.VERSIONS[-1] == "0.32"


def test_small_models_hold_the_default_budget_by_their_length() -> None:
    options = deploy(max_model_len=4, max_num_seqs=8).options
    assert options["max_num_batched_tokens"] == 32
    assert deploy(max_model_len=1, max_num_batched_tokens=50).options["max_num_seqs"] == 50


def test_without_chunks_the_budget_holds_the_longest_prompt() -> None:
    assert deploy(enable_chunked_prefill=False, max_model_len=9000).options["max_num_batched_tokens"] == 9000


def test_graph_sizes_are_51_up_to_512() -> None:
    sizes = graph_sizes(256, 2048, RELEASES.of("0.32"))
    assert len(sizes) == 51
    assert sizes[:5] == (1, 2, 4, 8, 16)
    assert sizes[-2:] == (496, 512)
    assert graph_sizes(8, 2048, RELEASES.of("0.32")) == (1, 2, 4, 8, 16)
    assert len(graph_sizes(256, 2048, RELEASES.of("0.10"))) == 67  # as the log of 0.10.1 counts them


@pytest.mark.parametrize(
    ("batch", "padded"),
    [(3, 4), (5, 8), (9, 16), (33, 40), (257, 272), (300, 304)],
)
def test_batches_are_padded_to_the_next_graph(batch: int, padded: int) -> None:
    rows = padded_rows(scheduler(deploy(max_num_seqs=600, max_model_len=2048)).graph_sizes)
    assert rows[batch] == padded
    assert len(rows) == 513  # a larger batch runs as it is


def test_without_graphs_nothing_is_padded() -> None:
    assert padded_rows(scheduler(deploy(enforce_eager=True)).graph_sizes) == []


# -- blocks


@pytest.mark.parametrize(
    ("count", "utilization", "published_gib"),
    [(1, 0.25, 5.01), (2, 0.25, 12.02), (2, 0.5, 31.83)],
)
def test_the_cache_is_within_two_per_cent_of_what_vllm_0_10_logged(
    count: int, utilization: float, published_gib: float
) -> None:
    deployment = deploy(
        "a100-80g", "qwen2-7b", count, version="0.10.1", gpu_memory_utilization=utilization, max_model_len=16384
    )
    assert deployment.memory.kv_bytes / count / GIB == pytest.approx(published_gib, rel=0.02)


def test_a_small_card_is_within_five_per_cent_of_what_vllm_0_27_logged() -> None:
    card = replace(A100, id="gtx-1650-super", name="GTX 1650 SUPER", memory_class="gddr", memory_bytes=4 * GIB)
    deployment = deploy(
        card,
        "qwen3-0.6b",
        version="0.27.1",
        gpu_memory_utilization=0.8,
        max_model_len=512,
        max_num_seqs=32,
        enforce_eager=True,
    )
    assert deployment.memory.kv_tokens == pytest.approx(17_792, rel=0.05)


def test_the_cache_holds_what_the_share_leaves() -> None:
    deployment = deploy()
    memory = deployment.memory
    share = A100.memory_bytes * 0.92
    assert memory.weight_bytes == 2 * LLAMA.parameters
    taken = memory.weight_bytes + memory.kv_bytes + memory.scratch_bytes
    assert share - 2 * 1024**2 < taken <= share + 1
    assert memory.kv_tokens == (blocks() - 1) * 16
    assert memory.kv_bytes == blocks() * 16 * LLAMA.kv_bytes_per_token()


@given(st.integers(24, 190), st.integers(1, 20))
def test_more_memory_never_means_fewer_blocks(gib: int, more: int) -> None:
    small, large = (replace(A100, memory_bytes=size * GIB) for size in (gib, gib + more))
    assert blocks(large, max_model_len=1024) >= blocks(small, max_model_len=1024)


@given(st.integers(50, 99), st.integers(1, 20))
def test_a_larger_share_never_means_fewer_blocks(percent: int, more: int) -> None:
    low, high = percent / 100, min(1.0, (percent + more) / 100)
    at_high, at_low = (blocks(max_model_len=1024, gpu_memory_utilization=share) for share in (high, low))
    assert at_high >= at_low


def test_a_larger_step_leaves_a_smaller_cache() -> None:
    assert blocks(max_num_batched_tokens=16384) < blocks(max_num_batched_tokens=2048)


def test_charged_graphs_leave_a_smaller_cache() -> None:
    assert blocks(version="0.19") < blocks(version="0.14") == blocks(version="0.14", enforce_eager=True)
    assert blocks(version="0.19", enforce_eager=True) == blocks(version="0.14")


def test_keys_and_values_of_half_the_size_double_the_blocks() -> None:
    assert blocks(kv_cache_dtype="fp8") // 2 == pytest.approx(blocks(), abs=1)
    assert blocks(kv_type="fp8_e4m3") == blocks(kv_cache_dtype="fp8")


def test_two_gpus_share_weights_and_heads() -> None:
    one, two = deploy(), deploy(count=2)
    assert two.options["tensor_parallel_size"] == two.traits.tensor_parallel == 2
    assert two.memory.weight_bytes == one.memory.weight_bytes
    assert two.memory.kv_tokens > 2 * one.memory.kv_tokens


def test_a_gpu_that_no_layer_uses_is_told() -> None:
    assert any("1 of 2 GPUs are idle" in told for told in deploy(count=2, tensor_parallel_size=1).warnings)


@pytest.mark.parametrize("name", ["num_gpu_blocks", "num_gpu_blocks_override", "--num-gpu-blocks-override"])
def test_a_known_block_count_wins_over_the_estimate(name: str) -> None:
    options: dict[str, Any] = {"max_model_len": 4096, name: "3000"}
    deployment = deploy(**options)
    assert deployment.memory.blocks == deployment.options["num_gpu_blocks"] == 3000
    assert not any("estimate" in told for told in deployment.warnings)
    assert any("estimate" in told for told in deploy().warnings)


def test_given_cache_bytes_win_over_the_share() -> None:
    assert blocks(kv_cache_memory_bytes=4 * GIB, max_model_len=4096) == 4 * GIB // (16 * LLAMA.kv_bytes_per_token())


@pytest.mark.parametrize(("on", "kind"), [(True, PrefixCache), (False, PagedCache)])
def test_the_cache_remembers_prompts_unless_told_not_to(on: bool, kind: type[PagedCache]) -> None:
    deployment = deploy(enable_prefix_caching=on, block_size=32)
    cache = pickle.loads(pickle.dumps(deployment.cache))()
    assert type(cache) is kind
    assert (cache.num_blocks, cache.block_size) == (deployment.memory.blocks, 32)
    assert deployment.core().scheduler is not deployment.scheduler


def test_options_reach_the_scheduler_under_their_own_names() -> None:
    policy = scheduler(
        deploy(
            max_num_seqs="64",
            max_num_active_seqs=32,
            max_num_batched_tokens=512,
            policy="priority",
            watermark="0.1",
            long_prefill_token_threshold=128,
            async_scheduling="off",
        )
    )
    assert (policy.max_num_seqs, policy.max_num_batched_tokens, policy.policy) == (32, 512, "priority")
    assert (policy.watermark, policy.long_prefill_token_threshold, policy.async_scheduling) == (0.1, 128, False)


# -- served


def arrive(replica: Replica, request: Request, _: object) -> None:
    replica.submit(request)


def served(deployment: Deployment, cost: StepCost, stride_limit: int | None) -> list[tuple[int, int, int, int, int]]:
    """When each request of a small mixed load was admitted, answered and ended."""
    clock, ended = Clock(), list[Request]()
    replica = Replica(clock, deployment.core(), cost, Journal(), ended.append, stride_limit=stride_limit)
    for number in range(40):
        request = Request(number, 5 + 37 * number % 300, 1 + 53 * number % 200, 1000 if number % 2 else None)
        clock.call_in(number**2 * 29 * PS_PER_MS % (2 * PS_PER_S), partial(arrive, replica, request))
    clock.run()
    return sorted((r.id, r.admitted_ps, r.first_token_ps, r.end_ps, r.preemptions) for r in ended)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("room", [100, 5000])
@pytest.mark.parametrize("gpu", ["h200", "a100-40g"])
def test_strides_by_the_data_sheet_equal_single_steps(gpu: str, room: int, ahead: bool) -> None:
    deployment = deploy(gpu, "rand-78m", num_gpu_blocks=room, max_model_len=1024, async_scheduling=ahead)
    cost = step_cost(deployment, load("datasheet"))
    strides = served(deployment, cost, None)
    assert strides == served(deployment, cost, 1)
    assert any(preemptions for *_, preemptions in strides) is (room == 100)


@pytest.mark.parametrize("name", ["rand78m-llamacpp-split", "rand78m-vllm-seqs128_b2048"])
def test_strides_by_a_table_equal_single_steps(name: str) -> None:
    deployment = deploy("a100-40g", "rand-78m", num_gpu_blocks=100, max_model_len=1024)
    table = steptable.load(str(files("calibration").joinpath("measurements", f"{name}.json")))
    assert served(deployment, TableCost(table), None) == served(deployment, TableCost(table), 1)


def test_a_full_pool_stops_the_growth_of_throughput_but_breaks_nothing() -> None:
    """The shape measured on an A100-80 with Qwen2-7B and a pool of 93,872 tokens: up to about 50 users, then flat."""
    deployment = deploy("a100-80g", "qwen2-7b", version="0.10.1", num_gpu_blocks=93872 // 16 + 1, max_model_len=16384)
    cost = step_cost(deployment, load("datasheet"))

    def tokens_per_s(users: int) -> float:
        clock, ended = Clock(), list[Request]()
        replica = Replica(clock, deployment.core(), cost, Journal(), ended.append)
        for number in range(users):
            replica.submit(Request(number, 1024, 1024))
        clock.run()
        return sum(request.output_tokens for request in ended) / (clock.now / PS_PER_S)

    one, ten, fifty, hundred = (tokens_per_s(users) for users in (1, 10, 50, 100))
    assert one < ten / 5 < fifty / 10
    assert hundred == pytest.approx(fifty, rel=0.2)
    for simulated, measured in ((one, 85), (ten, 715), (fifty, 2338), (hundred, 2125)):
        assert simulated == pytest.approx(measured, rel=0.2)  # nothing was fitted to these


# -- refusals


def test_a_length_that_does_not_fit_is_refused_with_the_one_that_does() -> None:
    with pytest.raises(DoesNotFit) as refused:
        deploy("rtx-4090")
    found = re.search(r"max_model_len=(\d+) would fit", str(refused.value))
    assert found is not None
    feasible = int(found[1])
    assert deploy("rtx-4090", max_model_len=feasible).memory.context == feasible
    assert deploy("rtx-4090", max_model_len="auto").memory.context == feasible
    with pytest.raises(DoesNotFit):
        deploy("rtx-4090", max_model_len=feasible + 1)


def test_the_missing_bytes_would_be_enough() -> None:
    card = catalog.gpu("rtx-4090")
    with pytest.raises(DoesNotFit) as refused:
        deploy(card, gpu_memory_utilization=1.0)
    deploy(replace(card, memory_bytes=card.memory_bytes + refused.value.missing_bytes), gpu_memory_utilization=1.0)
    with pytest.raises(DoesNotFit):
        deploy(
            replace(card, memory_bytes=card.memory_bytes + refused.value.missing_bytes - 4 * 1024**2),
            gpu_memory_utilization=1.0,
        )


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DoesNotFit, match=r"131\.\d\d GiB weights.*more GPUs") as refused:
        deploy("rtx-4090", "llama-3.1-70b")
    assert refused.value.missing_bytes > 110 * GIB


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"swap_space": 4}, NotSupported, "swap_space is not modelled"),
        ({"speculative-config": "{}"}, NotSupported, "speculative_config is not modelled"),
        ({"pipeline_parallel_size": 2}, NotSupported, "pipeline_parallel_size is not modelled"),
        ({"enable_lora": True}, NotSupported, "enable_lora is not modelled"),
        ({"kv_cache_dtype": "q8_0"}, NotSupported, "known: auto, fp8"),
        ({"version": "0.6.3"}, NotSupported, "V0 engine"),
        ({"version": "newest"}, UnknownName, "unknown vLLM version"),
        ({"num_parallel": 4}, UsageError, "no option 'num_parallel'"),
        ({"version": "0.14", "watermark": 0.1}, UsageError, "came with 0.25"),
        ({"max_num_seqs": 0}, UsageError, "1 or more"),
        ({"max_num_seqs": "many"}, UsageError, "whole number"),
        ({"max_num_seqs": True}, UsageError, "whole number"),
        ({"gpu_memory_utilization": 92}, UsageError, "between 0 and 1"),
        ({"gpu_memory_utilization": 0}, UsageError, "between 0 and 1"),
        ({"enable_prefix_caching": "maybe"}, UsageError, "on or off"),
        ({"policy": "sjf"}, UsageError, "fcfs or priority"),
        ({"max_model_len": 200_000}, UsageError, "more than the 131072"),
        ({"max_num_seqs": 200, "max_num_batched_tokens": 100}, UsageError, "vLLM refuses"),
        (
            {"enable_chunked_prefill": False, "max_num_batched_tokens": 512, "max_model_len": 4096},
            UsageError,
            "must hold max_model_len",
        ),
        ({"tensor_parallel_size": 2}, UsageError, "needs 2 GPUs"),
        ({"weights": "awq"}, UsageError, "need weight_bits"),
    ],
)
def test_what_vllm_or_this_model_of_it_cannot_do_is_refused_by_name(
    options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        deploy(**options)


def test_heads_that_gpus_cannot_share_are_refused() -> None:
    with pytest.raises(UsageError, match=f"{QWEN.heads} attention heads"):
        deploy(model="qwen2-7b", count=3)


def test_apple_gpus_are_refused() -> None:
    with pytest.raises(NotSupported, match="Apple"):
        deploy("m2-ultra")


def test_a_batch_of_decodes_is_computed_with_its_padding() -> None:
    core = Core(VllmV1(graph_sizes=(1, 2, 4, 8)), PagedCache(100))
    for number in range(3):
        core.submit(Request(number, 5, 9))
    prompts = core.schedule()
    assert prompts is not None
    assert prompts.passes[0].padded == 15  # prompts are not padded
    core.complete(prompts)
    decodes = core.schedule()
    assert decodes is not None
    assert (decodes.passes[0].decodes, decodes.passes[0].padded) == (3, 4)
