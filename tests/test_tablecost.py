"""A table prices what it measured as measured, and a stride by it equals its single steps."""

from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.tables.steptable import StepTable, load
from calibration.tables.tablecost import TableCost
from sim.batch import Batch, Pass, Piece, prefill_cells
from sim.clock import PS_PER_MS
from sim.request import Request

NAMES = [
    "rand78m-llamacpp-split",
    "rand78m-llamacpp-unified",
    "rand78m-vllm-seqs128_b2048",
    "rand78m-vllm-seqs64_kv2048tok",
]


def measured(name: str) -> StepTable:
    return load(str(files("calibration").joinpath("measurements", f"{name}.json")))


def made(**changes: Any) -> StepTable:
    """A small table with round numbers."""
    values: dict[str, Any] = {
        "decode_batches": (1, 4),
        "decode_contexts": (100, 200, 400),
        "decode_ms": ((10.0, 11.0, 15.0), (16.0, 20.0, 36.0)),
        "prefill_tokens": (10, 100),
        "prefill_ms": (20.0, 110.0),
        "mixed": "separate",
    }
    return StepTable(**values | changes)


def decodes(count: int, held: int, unified: bool = False) -> Batch:
    """`count` members that hold `held` tokens together once each has added its own."""
    cells, growth = (count * held, count * count) if unified else (held, count)
    return Batch(count, (Pass(count, cells, growth, outputs=count, padded=count),), context=held - count)


def with_prompt(tokens: int, context: int = 0, beside: int = 0, held: int = 0) -> Batch:
    one = Pass(beside, held, beside, tokens, prefill_cells(tokens, context), beside + 1, beside + tokens)
    piece = Piece(Request(1, tokens + context, 5), tokens, context, ends=True)
    return Batch(beside, (one,), [piece], context=held - beside)


def ms(table: StepTable, batch: Batch) -> float:
    return TableCost(table).stride(batch).first_ps / PS_PER_MS


@pytest.mark.parametrize("name", NAMES)
def test_a_measured_batch_costs_what_was_measured(name: str) -> None:
    table = measured(name)
    for batch, times in zip(table.decode_batches, table.decode_ms, strict=True):
        for context, time in zip(table.decode_contexts, times, strict=True):
            priced = TableCost(table)
            step = decodes(batch, batch * context, unified=table.masked_ms_per_cell > 0)
            # prices of a cell are whole picoseconds
            assert priced.stride(step).first_ps == pytest.approx((time + table.step_overhead_ms) * PS_PER_MS, rel=1e-6)
            assert priced.trust == "measured"


@given(st.sampled_from(NAMES), st.integers(1, 40), st.integers(1, 900), st.integers(1, 1200))
def test_a_stride_equals_its_single_steps(name: str, count: int, context: int, steps: int) -> None:
    table = measured(name)
    unified = table.masked_ms_per_cell > 0
    priced = TableCost(table)
    stride = priced.stride(decodes(count, count * context, unified))
    for step in range(min(steps, stride.steps)):
        alone = priced.stride(decodes(count, count * (context + step), unified))
        assert alone.first_ps == stride.duration(step)


def test_a_stride_ends_at_the_edge_of_the_table() -> None:
    stride = TableCost(made()).stride(decodes(4, 4 * 150))
    assert stride.steps == 51
    assert stride.duration(50) == 20 * PS_PER_MS


def test_time_between_the_knots_lies_on_the_straight_line() -> None:
    assert ms(made(), decodes(4, 4 * 150)) == pytest.approx(18.0)
    assert ms(made(), decodes(2, 2 * 100)) == pytest.approx(12.0)


def test_times_that_fall_with_context_are_taken_step_by_step() -> None:
    falling = made(decode_ms=((15.0, 11.0, 10.0), (36.0, 20.0, 16.0)))
    stride = TableCost(falling).stride(decodes(4, 4 * 150))
    assert (stride.steps, stride.growth_ps) == (1, 0)
    assert stride.first_ps == 28 * PS_PER_MS


@pytest.mark.parametrize(("count", "context"), [(4, 500), (4, 50), (8, 150)])
def test_what_was_not_measured_is_priced_on_and_flagged(count: int, context: int) -> None:
    table = made()
    priced = TableCost(table)
    stride = priced.stride(decodes(count, count * context))
    assert stride.first_ps == pytest.approx(table.decode_time_ms(count, context) * PS_PER_MS, rel=1e-6)
    assert priced.trust == "extrapolated"


@given(st.integers(1, 500), st.integers(1, 5000))
def test_no_step_is_free_however_far_from_the_table(count: int, context: int) -> None:
    steep = made(decode_ms=((1.0, 50.0, 20.0), (2.0, 90.0, 1.0)))
    assert TableCost(steep).stride(decodes(count, count * context)).first_ps > 0


def test_a_step_that_was_cheap_by_luck_does_not_make_larger_batches_cheaper() -> None:
    lucky = made(decode_ms=((10.0, 11.0, 15.0), (6.0, 7.0, 8.0)))
    assert ms(lucky, decodes(9, 9 * 100)) == pytest.approx(6.0)


def test_passes_are_priced_by_themselves_and_share_the_context() -> None:
    one, three = Pass(1, 100, 1, outputs=1), Pass(3, 300, 3, outputs=3)
    apart = Batch(4, (one, three), context=4 * 99)
    table = made()
    expected = table.decode_time_ms(1, 100) + table.decode_time_ms(3, 100)
    assert ms(table, apart) == pytest.approx(expected)


def test_separate_tables_add_a_prompt_pass_to_the_decode_pass() -> None:
    table = made(prefill_ms_per_cell=0.01, step_overhead_ms=0.5)
    whole = with_prompt(50, context=20, beside=4, held=400)
    prompt, rest = Pass(0, 0, 0, 50, prefill_cells(50, 20), 1, 50), Pass(4, 400, 4, outputs=4)
    apart = Batch(4, (rest, prompt), whole.pieces, context=396)
    stride = TableCost(table).stride(apart)
    prompt_ms = 60.0 + 0.01 * prefill_cells(50, 20)
    assert stride.prefill_ps == pytest.approx(prompt_ms * PS_PER_MS)
    assert stride.first_ps == pytest.approx((16.0 + 0.5 + prompt_ms) * PS_PER_MS)
    assert stride.steps == 1


def test_decodes_inside_a_prompt_pass_pay_their_row_and_their_attention() -> None:
    table = made()
    attention = table.decode_time_ms(4, 200) - table.decode_time_ms(4, 0)
    assert ms(table, with_prompt(50, beside=4, held=800)) == pytest.approx(64.0 + attention, rel=1e-6)


def test_joint_tables_price_one_pass_with_a_share_for_each_decode() -> None:
    table = made(mixed="joint", per_decode_row_in_mixed_ms=2.0)
    stride = TableCost(table).stride(with_prompt(50, beside=4, held=400))
    assert stride.first_ps == 68 * PS_PER_MS
    assert stride.prefill_ps == 60 * PS_PER_MS


def test_a_lone_prompt_is_prompt_work_and_nothing_else() -> None:
    stride = TableCost(made(step_overhead_ms=1.0)).stride(with_prompt(50))
    assert stride.prefill_ps == stride.first_ps == 61 * PS_PER_MS


def test_cells_that_a_unified_cache_skips_over_are_paid_for() -> None:
    table = measured("rand78m-llamacpp-unified")
    crowded, alone = decodes(4, 800), decodes(4, 800, unified=True)
    crowded = Batch(4, (Pass(4, 4 * 3000, 0, outputs=4),), context=796)
    skipped_ms = table.masked_ms_per_cell * 4 * (3000 - 800)
    assert ms(table, crowded) - ms(table, alone) == pytest.approx(skipped_ms, rel=1e-5)


def test_long_prompts_beyond_the_table_are_flagged() -> None:
    priced = TableCost(made())
    priced.stride(with_prompt(60))
    assert priced.trust == "measured"
    priced.stride(with_prompt(600))
    assert priced.trust == "extrapolated"
