"""What shared cells cost: read once for all rows, computed for every one; and sampling, on one thread."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import catalog, physics
from calibration.profile import load
from calibration.sampling import SAMPLING_NS, row_s
from sim.batch import Batch, Pass
from sim.clock import PS_PER_S
from sim.cost import StepCost, Stride
from sim.engine import Deployment
from tests.test_physics import deployment

PROFILE = load("datasheet")
SPAN = 8192


def put(model: str = "llama-3.1-8b", host_layers: int = 0, **traits: Any) -> Deployment:
    plain = deployment("llama.cpp", "rtx-4060-ti-16g", model, host_layers)
    return replace(plain, traits=replace(plain.traits, **traits))


def cost(*args: Any, **changes: Any) -> StepCost:
    return physics.step_cost(put(*args, **changes), PROFILE)


def step(priced: StepCost, rows: int, span: int, growth: int = 0) -> Stride:
    one = Pass(rows, rows * span, rows * growth, outputs=rows, padded=rows)
    return priced.stride(Batch(rows, (one,), context=rows * span))


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-12b"])
def test_alone_a_row_pays_nearly_the_same_for_shared_cells_as_for_its_own(model: str) -> None:
    shared, own = (step(cost(model, unified_cells=which), 1, SPAN).first_ps for which in (True, False))
    assert own <= shared < 1.1 * own


@given(rows=st.integers(2, 64), span=st.integers(1, 100_000))
def test_more_rows_never_pay_for_reading_shared_cells_again(rows: int, span: int) -> None:
    def cells_ps(count: int, **traits: Any) -> int:
        return step(cost(**traits), count, span).first_ps - step(cost(**traits), count, 0).first_ps

    once = cells_ps(1)
    shared = cells_ps(rows, unified_cells=True)
    assert once <= shared <= rows * cells_ps(1, unified_cells=True)
    assert cells_ps(rows) == rows * once


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-12b"])
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strides_over_shared_cells_equal_their_steps(model: str, rows: int) -> None:
    priced = cost(model, unified_cells=True)
    stride = step(priced, rows, SPAN, growth=3)
    for number in range(min(stride.steps, 200)):
        assert stride.first_ps + number * stride.growth_ps == step(priced, rows, SPAN + 3 * number).first_ps


def test_a_shared_window_ends_what_its_layers_read() -> None:
    priced, window = cost("gemma-3-12b", unified_cells=True), catalog.model("gemma-3-12b").window
    rows = 8
    before, at, after = (step(priced, rows, span).first_ps for span in (0, rows * window, 2 * rows * window))
    assert after - at < 0.35 * (at - before)  # a sixth of the layers go on


def test_cells_on_the_host_are_read_once_there_too() -> None:
    spilled = cost(host_layers=8, unified_cells=True)
    apart = cost(host_layers=8)
    assert step(spilled, 16, SPAN).first_ps < step(apart, 16, SPAN).first_ps
    assert step(spilled, 1, SPAN).first_ps > step(cost(unified_cells=True), 1, SPAN).first_ps


@pytest.mark.parametrize("sampler", [name for name in SAMPLING_NS if name])
def test_sampling_adds_a_visit_of_the_vocabulary_a_token(sampler: str) -> None:
    on_gpu, on_cpu = cost(), cost(sampler=sampler)
    vocab, thread = catalog.model("llama-3.1-8b").vocab, catalog.host("desktop-ddr4").single_thread
    added = step(on_cpu, 10, 500).first_ps - step(on_gpu, 10, 500).first_ps
    assert added == pytest.approx(10 * row_s(sampler, vocab) / thread * PS_PER_S, rel=1e-6)


def test_a_look_up_for_every_candidate_costs_most() -> None:
    assert SAMPLING_NS["penalised"] > SAMPLING_NS["own"] > SAMPLING_NS["plain"] > SAMPLING_NS[""] == 0
