"""Data-sheet times behave like a GPU: more work never takes less, strides equal steps, and known orders come out."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog, physics, terms
from calibration.physics import step_cost
from calibration.profile import load, parse
from policies.caches.paged import PagedCache
from policies.schedulers.vllm_v1 import VllmV1
from sim.batch import Batch, Pass, prefill_cells
from sim.cli.measured.server import with_even_contexts
from sim.clock import PS_PER_MS
from sim.cost import StepCost
from sim.engine import Deployment, MemoryPlan, Traits
from sim.errors import BadScenario, NotSupported
from sim.hardware import Model

DATASHEET = load("datasheet")
PLACES = [
    ("vllm", "a100-40g"),
    ("vllm", "rtx-4090"),
    ("vllm", "dgx-spark-gb10"),
    ("llama.cpp", "a100-40g"),
    ("llama.cpp", "rtx-4060-ti-16g"),
    ("llama.cpp", "m2-ultra"),
]

rows = st.integers(1, 300)
contexts = st.integers(1, 5000)
places = st.sampled_from(PLACES)


def deployment(
    kernels: str = "vllm",
    gpu: str = "a100-40g",
    model: str | Model = "llama-3.1-8b",
    host_layers: int = 0,
    tp: int = 1,
    overlaps: bool = False,
) -> Deployment:
    shape = catalog.model(model) if isinstance(model, str) else model
    weights, kv = 2 * shape.parameters, 10**9
    on_host = host_layers / shape.layers
    memory = MemoryPlan(
        weight_bytes=round(weights * (1 - on_host)),
        kv_bytes=round(kv * (1 - on_host)),
        scratch_bytes=0,
        kv_tokens=8000,
        context=8000,
        layers_on_host=host_layers,
        host_weight_bytes=round(weights * on_host),
        host_kv_bytes=round(kv * on_host),
    )
    return Deployment(
        engine="any",
        version="any",
        options={},
        gpus=(catalog.gpu(gpu),) * tp,
        host=catalog.host("desktop-ddr4"),
        model=shape,
        memory=memory,
        traits=Traits(kernels, "bf16", 16.0, overlaps_host=overlaps, tensor_parallel=tp),
        scheduler=VllmV1(),
        cache=partial(PagedCache, 100),
    )


def cost(*args: Any, **options: Any) -> StepCost:
    return step_cost(deployment(*args, **options), DATASHEET)


def decodes(count: int, context: int, padded: int = 0) -> Batch:
    """A batch whose members hold `context` tokens each, the one being added included."""
    one = Pass(count, count * context, count, outputs=count, padded=padded)
    return Batch(count, (one,), context=count * (context - 1))


def prompt(tokens: int, beside: int = 0) -> Batch:
    one = Pass(beside, beside * 500, beside, tokens, prefill_cells(tokens, 0), beside + 1, beside + tokens)
    return Batch(beside, (one,))


def time_ms(priced: StepCost, batch: Batch) -> float:
    return priced.stride(batch).first_ps / PS_PER_MS


@given(places, rows, contexts, st.integers(1, 200), st.booleans())
def test_a_stride_equals_its_single_steps(
    place: tuple[str, str], count: int, context: int, steps: int, overlaps: bool
) -> None:
    priced = cost(*place, overlaps=overlaps)
    stride = priced.stride(decodes(count, context))
    for step in range(min(steps, stride.steps)):
        assert priced.stride(decodes(count, context + step)).first_ps == stride.duration(step)


def test_a_stride_ends_where_the_gpu_outgrows_the_hidden_host() -> None:
    tiny = catalog.model("rand-78m")
    priced = cost(model=tiny, gpu="h200", overlaps=True)
    stride = priced.stride(decodes(200, 10))
    assert stride.growth_ps == 0
    assert 1 < stride.steps < 10**9
    before, after = (priced.stride(decodes(200, 10 + stride.steps + more)) for more in (-1, 0))
    assert before.first_ps == stride.first_ps < after.first_ps
    assert after.growth_ps > 0


@given(rows, contexts)
def test_several_passes_take_the_sum_of_their_times(count: int, context: int) -> None:
    priced = cost("llama.cpp", "rtx-4090")
    one = decodes(count, context)
    twice = Batch(2 * count, one.passes * 2, context=2 * one.context)
    single, double = priced.stride(one), priced.stride(twice)
    assert (double.first_ps, double.growth_ps) == (2 * single.first_ps, 2 * single.growth_ps)


@given(places, rows, contexts)
def test_more_rows_or_cells_are_never_faster(place: tuple[str, str], count: int, context: int) -> None:
    priced = cost(*place)
    now = priced.stride(decodes(count, context)).first_ps
    assert priced.stride(decodes(count + 1, context)).first_ps >= now
    assert priced.stride(decodes(count, context + 1)).first_ps > now
    assert priced.stride(decodes(count, context, padded=count + 7)).first_ps >= now


@given(places, st.integers(1, 4000), st.integers(0, 100))
def test_longer_prompts_and_company_are_never_faster(place: tuple[str, str], tokens: int, beside: int) -> None:
    priced = cost(*place)
    now = priced.stride(prompt(tokens, beside))
    assert priced.stride(prompt(tokens + 1, beside)).first_ps > now.first_ps
    assert priced.stride(prompt(tokens, beside + 1)).first_ps > now.first_ps
    assert 0 < now.prefill_ps <= now.first_ps
    assert now.steps == 1


def test_a_lone_prompt_is_prompt_work_and_nothing_else() -> None:
    stride = cost().stride(prompt(300))
    assert stride.prefill_ps == stride.first_ps


@pytest.mark.parametrize("gpu", ["a100-40g", "a100-80g", "h100-80g-sxm"])
def test_one_stream_of_a_16_bit_model_is_bound_by_reading_its_weights(gpu: str) -> None:
    card = catalog.gpu(gpu)
    reading_ms = 2 * catalog.model("llama-3.1-8b").parameters / (card.bandwidth_gbs * 1e9) * 1e3
    assert reading_ms < time_ms(cost(gpu=gpu), decodes(1, 500)) < 2 * reading_ms


def test_vllm_batches_almost_for_free_while_llama_cpp_pays_for_each_row() -> None:
    vllm, llama = cost("vllm", "a100-40g"), cost("llama.cpp", "m2-ultra")
    assert time_ms(vllm, decodes(8, 200)) < 1.1 * time_ms(vllm, decodes(1, 200))
    assert time_ms(llama, decodes(8, 200)) > 1.2 * time_ms(llama, decodes(1, 200))


def test_llama_cpp_wastes_more_bandwidth_on_hbm_than_on_gddr() -> None:
    def share(gpu: str) -> float:
        reading_s = 2 * catalog.model("llama-3.1-8b").parameters / (catalog.gpu(gpu).bandwidth_gbs * 1e9)
        return reading_s * 1e3 / time_ms(cost("llama.cpp", gpu), decodes(1, 100))

    assert 0.2 < share("a100-80g") < 0.6 < share("rtx-4090") < 0.95


@pytest.mark.parametrize("kernels", ["vllm", "llama.cpp"])
@given(count=rows, context=contexts, layers=st.integers(1, 31))
def test_every_layer_on_the_host_slows_everybody(kernels: str, count: int, context: int, layers: int) -> None:
    fewer, more = (cost(kernels, "rtx-4090", host_layers=n) for n in (layers - 1, layers))
    assert more.stride(decodes(count, context)).first_ps > fewer.stride(decodes(count, context)).first_ps


def test_a_spill_hurts_a_lone_user_too() -> None:
    whole, spilled = (cost("llama.cpp", "rtx-4060-ti-16g", host_layers=n) for n in (0, 5))
    assert time_ms(spilled, decodes(1, 500)) > 1.3 * time_ms(whole, decodes(1, 500))


def test_long_prompts_send_spilled_weights_to_the_gpu_instead_of_computing_on_the_cpu() -> None:
    spilled = cost("llama.cpp", "rtx-4090", host_layers=16)
    memory = deployment("llama.cpp", "rtx-4090", host_layers=16).memory
    cpu_ms = 4096 * memory.host_weight_bytes / catalog.host("desktop-ddr4").cpu_tflops / 1e12 * 1e3
    assert time_ms(spilled, prompt(4096)) < cpu_ms


def test_two_gpus_are_faster_than_one_but_less_than_twice() -> None:
    one, two = (time_ms(cost(gpu="a100-80g", tp=tp), decodes(16, 500)) for tp in (1, 2))
    assert one / 2 < two < one


def test_deciding_ahead_hides_the_host() -> None:
    assert time_ms(cost(overlaps=True), decodes(16, 500)) < time_ms(cost(), decodes(16, 500))


def test_a_copy_to_the_host_delays_one_step_by_its_bytes() -> None:
    priced, batch = cost("llama.cpp", "a100-40g"), decodes(4, 500)
    plain = priced.stride(batch)
    batch.host_bytes = 25 * 10**9
    copied = priced.stride(batch)
    assert copied.steps == 1
    assert copied.first_ps - plain.first_ps == pytest.approx(25e12 / catalog.gpu("a100-40g").pcie_gbs, rel=1e-9)


def test_experts_are_read_as_more_rows_ask_for_them() -> None:
    dense = catalog.model("llama-3.1-8b")
    experts = dense.parameters // 2
    sparse = replace(
        dense,
        active_parameters=dense.parameters - experts * 6 // 8,
        experts=8,
        experts_per_token=2,
        expert_parameters=experts,
    )
    times = [time_ms(cost(model=sparse), decodes(count, 100)) for count in (1, 2, 64)]
    assert times[0] < 0.8 * time_ms(cost(model=dense), decodes(1, 100))
    assert times[1] > 1.1 * times[0]
    assert times[2] == pytest.approx(time_ms(cost(model=dense), decodes(64, 100)), rel=0.25)


@given(st.integers(1, 64), contexts, st.integers(1, 900), st.integers(2, 200))
def test_layers_with_a_window_read_no_further_than_it(count: int, context: int, window: int, steps: int) -> None:
    dense = catalog.model("llama-3.1-8b")
    windowed = cost(model=replace(dense, window=window, window_layers=16))
    stride = windowed.stride(decodes(count, context))
    for step in range(min(steps, stride.steps)):
        assert windowed.stride(decodes(count, context + step)).first_ps == stride.duration(step)
    whole = cost(model=dense).stride(decodes(count, context)).first_ps
    assert stride.first_ps < whole if context > window else abs(stride.first_ps - whole) <= count * context


@given(places, rows, st.integers(0, 3000), st.sampled_from(["llama-3.1-8b", "llama-2-13b"]), st.booleans())
def test_a_pass_costs_what_the_formula_says(
    place: tuple[str, str], count: int, tokens: int, model: str, alone: bool
) -> None:
    put = with_even_contexts(deployment(*place, model=model))
    priced = step_cost(put, DATASHEET)
    decoding = 0 if alone and tokens else count
    one = Pass(decoding, 500 * decoding, decoding, tokens, prefill_cells(tokens, 0), decoding + 1)
    kernels = DATASHEET.kernels(physics.family(put))
    amounts = terms.facts(put.model, put.gpus[0], put.traits)
    mixed = 500 * decoding if tokens else 0
    work = terms.Work(decoding, tokens, decoding + 1, 500 * decoding, prefill_cells(tokens, 0), mixed)
    host_us = kernels.host_step_us + kernels.host_row_us * (decoding + 1)
    expected_s = terms.pass_s(kernels, amounts, work) + terms.cells_s(kernels, amounts, work)
    expected_s += host_us / put.host.single_thread * terms.MICRO
    assert priced.stride(Batch(decoding, (one,))).first_ps / 1e12 == pytest.approx(expected_s, rel=1e-6)


def test_uneven_contexts_make_vllms_attention_dearer_and_nothing_else() -> None:
    put = deployment()
    even = step_cost(with_even_contexts(put), DATASHEET)

    def cells_ps(priced: StepCost) -> int:
        return priced.stride(decodes(8, 800)).first_ps - priced.stride(decodes(8, 0)).first_ps

    assert cells_ps(step_cost(put, DATASHEET)) == pytest.approx(terms.RAGGED["vllm"] * cells_ps(even), rel=1e-4)
    assert even.stride(decodes(8, 0)).first_ps == step_cost(put, DATASHEET).stride(decodes(8, 0)).first_ps


def test_a_profile_without_the_kernels_says_what_it_has() -> None:
    with pytest.raises(NotSupported, match=r"no weights_efficiency for trt kernels on hbm.*vllm/hbm"):
        cost("trt")


def test_a_machine_without_a_gpu_is_sent_to_a_table() -> None:
    with pytest.raises(NotSupported, match="measured step table"):
        step_cost(replace(deployment(), gpus=()), DATASHEET)


def test_every_coefficient_of_the_data_sheet_says_its_source() -> None:
    assert DATASHEET.trust == "datasheet"
    assert len(DATASHEET.sources) == 6 * 9 + 2 * 5 + 1 + 3
    assert min(len(source) for source in DATASHEET.sources.values()) > 10


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no object"),
        ('{"format": 99}', "format 99"),
        ('{"format": 4}', "'coefficients' is missing"),
    ],
)
def test_a_broken_profile_is_refused_by_name(text: str, complaint: str) -> None:
    with pytest.raises(BadScenario, match=f"profile mine.*{complaint}"):
        parse(text, "mine")


@pytest.mark.parametrize(
    ("coefficient", "complaint"),
    [
        ({"value": 86.0, "source": "a percentage"}, "not a share or a correction"),
        ({"value": 0.86}, "must say its source"),
        ({"value": "fast", "source": "hope"}, "not a finite number"),
    ],
)
def test_a_broken_coefficient_is_refused_by_name(coefficient: dict[str, Any], complaint: str) -> None:
    text = json.dumps(
        {"format": 4, "name": "n", "trust": "t", "coefficients": {"weights_efficiency": {"mine/hbm": coefficient}}}
    )
    with pytest.raises(BadScenario, match=f"weights_efficiency/mine/hbm.*{complaint}"):
        parse(text, "p")


@pytest.mark.parametrize("name", ["launch", "efficiency"])
def test_an_unknown_coefficient_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadScenario, match=f"unknown coefficient {name}"):
        parse(json.dumps({"format": 4, "name": "n", "trust": "t", "coefficients": {name: {}}}), "p")
