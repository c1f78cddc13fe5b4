"""A step table answers exactly at its knots, refuses nonsense by name, and is rebuilt from its recordings."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from calibration.tables.bench_table import from_batched_bench, fullest_run, ran_unified
from calibration.tables.client_latency import ClientLatency, from_logged_steps, from_prompt_timings, serial_request_ms
from calibration.tables.iteration_table import Iteration, from_iterations, read_iterations
from calibration.tables.steptable import StepTable, load
from calibration.tables.tabulate import MEASUREMENTS, build_tables, main
from sim.errors import BadScenario
from tests.recordings import RECORDED, read_text

TABLE = StepTable(
    decode_batches=(1, 2, 4),
    decode_contexts=(100, 200),
    decode_ms=((6.0, 7.0), (17.0, 19.0), (18.0, 24.0)),
    prefill_tokens=(1, 128, 512),
    prefill_ms=(6.0, 230.0, 998.0),
    mixed="separate",
    prefill_ms_per_cell=0.5,
    masked_ms_per_cell=0.25,
    source={"engine": "made up"},
)
COMMITTED = sorted(MEASUREMENTS.glob("rand78m-*.json"))


def bench_row(pp: int, pl: int, skipped_us: float = 0.0, tg: int = 32) -> dict[str, Any]:
    """A machine of 10 ms a pass, 2 ms a token, 1 us a cell; decode 5 ms a row and 0.1 ms a row and 10 tokens."""
    tokens, cells = pp * pl, pl * pp * (pp + 1) / 2
    skipped = tokens * (tokens + 1) / 2 - cells
    t_pp = 10.0 * math.ceil(tokens / 512) + 2.0 * tokens + 1e-3 * cells + 1e-3 * skipped_us * skipped
    context = pp + tg // 2
    t_tg = pl * (5.0 + 0.01 * context) + 1e-3 * skipped_us * pl * (pl - 1) * context
    kv = 8192 if skipped_us else 65536
    return {"pp": pp, "tg": tg, "pl": pl, "n_ubatch": 512, "n_kv_max": kv, "t_pp": t_pp / 1e3, "t_tg": t_tg * tg / 1e3}


SHAPES = [(128, 1), (128, 2), (128, 4), (128, 8), (128, 16), (512, 1), (512, 2), (512, 4), (512, 8)]
SPLIT_BENCH = [bench_row(*shape) for shape in SHAPES]
UNIFIED_BENCH = [bench_row(*shape, skipped_us=0.2) for shape in SHAPES]


@pytest.mark.parametrize("batch", TABLE.decode_batches)
@pytest.mark.parametrize("context", TABLE.decode_contexts)
def test_decode_time_is_exact_at_the_knots(batch: int, context: int) -> None:
    row = TABLE.decode_ms[TABLE.decode_batches.index(batch)]
    assert TABLE.decode_time_ms(batch, context) == row[TABLE.decode_contexts.index(context)]


def test_prefill_time_is_exact_at_the_knots() -> None:
    assert [TABLE.prefill_time_ms(n) for n in TABLE.prefill_tokens] == list(TABLE.prefill_ms)


@pytest.mark.parametrize(
    ("batch", "context", "ms"),
    [(1, 150, 6.5), (3, 100, 17.5), (3, 150, 19.5), (1, 300, 8.0), (2, 0, 15.0), (8, 100, 20)],
)
def test_decode_time_is_bilinear_between_knots_and_goes_on_beyond(batch: int, context: float, ms: float) -> None:
    assert TABLE.decode_time_ms(batch, context) == pytest.approx(ms)


def test_prefill_time_adds_cells_and_masked_cells_to_the_line() -> None:
    assert TABLE.prefill_time_ms(320) == pytest.approx(614.0)
    assert TABLE.prefill_time_ms(320, cells=10, masked_cells=8) == pytest.approx(614.0 + 5.0 + 2.0)


def test_one_context_means_that_context_does_not_matter() -> None:
    flat = replace(TABLE, decode_contexts=(300,), decode_ms=((6.0,), (17.0,), (18.0,)))
    assert flat.decode_time_ms(2, 1) == flat.decode_time_ms(2, 9000) == 17.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decode_batches": (1, 4, 2)}, "decode_batches must rise, but 2 follows 4"),
        ({"decode_contexts": (200, 200)}, "decode_contexts must rise"),
        ({"prefill_tokens": (1, 512, 128)}, "prefill_tokens must rise"),
        ({"prefill_tokens": ()}, "prefill_tokens must be a list"),
        ({"decode_batches": (0, 2, 4)}, "decode_batches has 0"),
        ({"decode_batches": (1, 2.5, 4)}, "decode_batches has 2.5"),
        ({"decode_ms": TABLE.decode_ms[:2]}, "2 rows for 3 decode_batches"),
        ({"decode_ms": ((6.0, 7.0), (17.0,), (18.0, 24.0))}, "decode_ms at batch 2 has 1 values for 2"),
        ({"decode_ms": ((6.0, 7.0), (math.nan, 19.0), (18.0, 24.0))}, "decode_ms at batch 2 has nan"),
        ({"prefill_ms": (6.0, -230.0, 998.0)}, "prefill_ms has -230.0"),
        ({"prefill_ms": (6.0, True, 998.0)}, "prefill_ms has True"),
        ({"prefill_ms": (6.0, 230.0)}, "prefill_ms has 2 values for 3 prefill_tokens"),
        ({"mixed": "both"}, "mixed is 'both'"),
        ({"step_overhead_ms": math.inf}, "step_overhead_ms has inf"),
        ({"client_latency_ms": "4"}, "client_latency_ms has '4'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadScenario, match=words):
        replace(TABLE, **change)


def test_a_saved_table_loads_back_unchanged(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "t.json")
    assert load(tmp_path / "t.json") == TABLE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "one JSON object"),
        ('{"mixed": "joint"}', "missing field decode_batches"),
        (json.dumps(asdict(TABLE) | {"decode_times": []}), "unknown field decode_times"),
        (json.dumps(asdict(TABLE) | {"source": "me"}), "source must be an object"),
        (json.dumps(asdict(TABLE) | {"decode_batches": 4}), "decode_batches must be a list"),
        (json.dumps(asdict(TABLE) | {"decode_ms": [1, 2, 3]}), "decode_ms at batch 1 has 1 values"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_path(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(BadScenario, match=words) as error:
        load(path)
    assert "broken.json" in str(error.value)


def test_a_missing_file_is_a_bad_scenario(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match="cannot be read"):
        load(tmp_path / "none.json")


def assert_close(built: Any, kept: Any, where: str) -> None:
    if isinstance(built, dict):
        assert built.keys() == kept.keys(), where
        for key in built:
            assert_close(built[key], kept[key], f"{where}.{key}")
    elif isinstance(built, tuple):
        assert len(built) == len(kept), where
        for i, (b, k) in enumerate(zip(built, kept, strict=True)):
            assert_close(b, k, f"{where}[{i}]")
    elif isinstance(built, float):
        assert built == pytest.approx(kept, rel=1e-6), where
    else:
        assert built == kept, where


def test_the_committed_tables_are_what_the_recordings_give() -> None:
    built = build_tables(RECORDED)
    assert sorted(built) == [path.stem for path in COMMITTED]
    for path in COMMITTED:
        assert_close(asdict(built[path.stem]), asdict(load(path)), path.stem)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_table_says_where_it_is_from(path: Path) -> None:
    source = load(path).source
    assert {"engine", "model", "machine", "made_from", "licence"} <= source.keys()
    assert all(source.values())


def test_a_second_sequence_leaves_the_fast_kernel_for_one() -> None:
    split = load(MEASUREMENTS / "rand78m-llamacpp-split.json")
    assert split.decode_time_ms(2, 144) > 2 * split.decode_time_ms(1, 144)


def test_with_attention_told_apart_decodes_and_short_prompts_lie_on_one_line() -> None:
    unified = load(MEASUREMENTS / "rand78m-llamacpp-unified.json")
    per_token = (unified.prefill_time_ms(512) - unified.prefill_time_ms(128)) / (512 - 128)
    assert unified.prefill_time_ms(128) - 112 * per_token == pytest.approx(unified.prefill_time_ms(16), rel=0.1)


def test_only_a_unified_cache_pays_for_other_sequences_cells() -> None:
    split, unified = (load(MEASUREMENTS / f"rand78m-llamacpp-{kind}.json") for kind in ("split", "unified"))
    assert split.prefill_time_ms(300, 45_000, 90_000) == split.prefill_time_ms(300, 45_000)
    assert unified.prefill_time_ms(300, 45_000, 90_000) > unified.prefill_time_ms(300, 45_000)


@pytest.mark.parametrize(("rows", "masked"), [(SPLIT_BENCH, 0.0), (UNIFIED_BENCH, 2e-4)])
def test_bench_rows_of_a_known_machine_give_that_machine(rows: list[dict[str, Any]], masked: float) -> None:
    table = from_batched_bench(rows, unified=masked > 0)
    assert table.prefill_ms_per_cell == pytest.approx(1e-3)
    assert table.masked_ms_per_cell == pytest.approx(masked, abs=1e-9)
    assert [table.prefill_time_ms(n) for n in (128, 256, 300, 512)] == pytest.approx([266.0, 522.0, 610.0, 1034.0])
    assert table.decode_contexts == (144, 528)
    for batch in (1, 2, 4, 8, 16):
        for context in (144, 300, 528):
            expected = batch * (5.0 + 0.01 * context) + masked * batch * (batch - 1) * context
            assert table.decode_time_ms(batch, context) == pytest.approx(expected), (batch, context)


def test_a_split_table_takes_the_rows_as_they_stand() -> None:
    table = from_batched_bench(UNIFIED_BENCH, unified=False)
    assert table.masked_ms_per_cell == 0.0
    assert table.prefill_ms_per_cell > 1e-3
    for row in UNIFIED_BENCH:
        measured = 1e3 * row["t_tg"] / row["tg"]
        assert table.decode_time_ms(row["pl"], row["pp"] + 16) == pytest.approx(measured)


def test_a_context_missing_at_a_batch_is_extended_by_the_price_of_a_cell_below() -> None:
    assert (512, 16) not in SHAPES
    assert from_batched_bench(SPLIT_BENCH, unified=False).decode_time_ms(16, 528) == pytest.approx(16 * 10.28)


def test_a_joint_pass_charges_each_decode_row_its_share() -> None:
    table = from_batched_bench(UNIFIED_BENCH, unified=True)
    assert table.per_decode_row_in_mixed_ms == pytest.approx(5.0 + 0.01 * 336)


def test_only_the_fullest_run_of_a_file_counts() -> None:
    slow = [row | {"t_pp": 9.9, "t_tg": 9.9} for row in UNIFIED_BENCH[:5]]
    assert from_batched_bench([*slow, *UNIFIED_BENCH], unified=True) == from_batched_bench(UNIFIED_BENCH, unified=True)


@pytest.mark.parametrize(
    ("rows", "unified", "words"),
    [
        ([*SPLIT_BENCH, bench_row(128, 1, tg=16)], False, "rows of one tg"),
        (SPLIT_BENCH[:5], False, "two lengths"),
        (SPLIT_BENCH, True, "may come from a split cache"),
        ([SPLIT_BENCH[0], bench_row(512, 2)], False, "batch 1 lacks the context 528"),
    ],
)
def test_bench_rows_that_cannot_make_a_table_are_refused(rows: list[dict[str, Any]], unified: bool, words: str) -> None:
    with pytest.raises(BadScenario, match=words):
        from_batched_bench(rows, unified=unified)


def test_the_recorded_benchmark_ran_on_a_unified_cache() -> None:
    text = read_text(RECORDED / "llamacpp-cpu" / "batched_bench_t1.jsonl")
    rows = [json.loads(line) for line in text.splitlines()]
    run = fullest_run(rows)
    assert (len(rows), len(run)) == (14, 9)
    assert ran_unified(run)
    assert not ran_unified(rows[:5])


def steps(count: int, gen: int, ms: float) -> list[Iteration]:
    return [Iteration(0, 0, gen, gen, ms)] * count


PROMPTS = [Iteration(1, n, g, g, 10.0 + n + 0.5 * g) for n in (16, 64, 128, 300, 512, 1024, 2048) for g in (0, 8)]
STEPS = [*PROMPTS, *steps(20, 1, 8.0), *steps(20, 9, 12.0)]


def test_steps_of_a_known_line_give_that_line() -> None:
    table = from_iterations(STEPS)
    assert table.per_decode_row_in_mixed_ms == pytest.approx(0.5)
    assert table.prefill_ms == pytest.approx([10.0 + n for n in table.prefill_tokens])
    assert table.decode_ms == ((8.0,), (12.0,))
    assert table.mixed == "joint"


def test_resumed_prompts_hidden_among_generation_tokens_are_dropped() -> None:
    hidden = [Iteration(1, 64, 2, 300, 9999.0), Iteration(0, 0, 9, 200, 9999.0)]
    assert from_iterations([*STEPS, *hidden]) == from_iterations(STEPS)


def test_batches_seen_only_a_few_times_are_no_knots() -> None:
    assert from_iterations([*STEPS, *steps(3, 4, 99.0)]).decode_batches == (1, 9)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*PROMPTS, *steps(20, 1, 8.0)], "two decode batches"),
        ([*steps(20, 1, 8.0), *steps(20, 9, 12.0)], "no step carries a prompt"),
        ([*PROMPTS[:2], *steps(20, 1, 8.0), *steps(20, 9, 12.0)], "on every side of the knots"),
    ],
)
def test_steps_that_cannot_make_a_table_are_refused(rows: list[Iteration], words: str) -> None:
    with pytest.raises(BadScenario, match=words):
        from_iterations(rows)


def test_an_unreadable_iterations_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_text("ctx_reqs,ctx_tokens,gen_reqs,gen_tokens,elapsed_ms\n1,2,x,0,3.0\n")
    with path.open() as file, pytest.raises(BadScenario, match="cannot be read"):
        read_iterations(file)


def request(users: int, t_send: float, t_headers: float, first: float = 0.0, prompt_ms: float = 0.0) -> dict[str, Any]:
    times = [t_send + first, t_send + first + 0.02, t_send + first + 0.04]
    return {
        "users": users, "t_send": t_send, "t_headers": t_headers, "t_first": times[0], "t_tokens": times, "n_out": 3,
        "prompt_len": 50, "timings": {"prompt_ms": prompt_ms},
    }  # fmt: skip


def test_serial_time_is_what_each_further_request_of_a_burst_waits() -> None:
    alone = [request(1, 0.0, 0.002)]
    burst = [request(4, 0.001 * i, 0.002 + 0.0015 * i) for i in range(4)]
    assert serial_request_ms([*alone, *burst]) == pytest.approx(1.5)
    with pytest.raises(BadScenario, match="different sizes"):
        serial_request_ms(burst)


def test_latency_is_what_the_logged_steps_do_not_explain() -> None:
    rows = [request(1, 0.0, 0.002, first=0.060), *(request(2, 0.001 * i, 0.002 + 0.0015 * i) for i in range(2))]
    log = [Iteration(1, 16, 0, 0, 30.0), *steps(5, 1, 8.0), Iteration(1, 50, 0, 0, 52.0), *steps(2, 1, 18.5)]
    latency = from_logged_steps(rows, log, warm_up_requests=1)
    assert latency.request_overhead_ms == pytest.approx(1.5)
    assert latency.client_latency_ms == pytest.approx(60.0 - 52.0 - 1.5)
    assert latency.step_overhead_ms == pytest.approx(1.5)
    with pytest.raises(BadScenario, match="out of line"):
        from_logged_steps(rows, log, warm_up_requests=0)


def test_a_server_that_reports_its_prompt_time_shows_the_rest_of_ttft() -> None:
    rows = [request(1, i, i + 0.001, first=0.102, prompt_ms=100.0) for i in range(3)]
    assert from_prompt_timings(rows).client_latency_ms == pytest.approx(2.0)
    with pytest.raises(BadScenario, match="a level of one user"):
        from_prompt_timings([request(2, 0.0, 0.001)])


def test_a_latency_changes_no_step_time() -> None:
    seen = ClientLatency(4.0, 1.5, 1.0).on(TABLE)
    assert (seen.client_latency_ms, seen.request_overhead_ms, seen.step_overhead_ms) == (4.0, 1.5, 1.0)
    assert replace(seen, client_latency_ms=0.0, request_overhead_ms=0.0, step_overhead_ms=0.0) == TABLE


def test_the_rebuild_command_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(tmp_path)]) == 3
    assert "no such file" in capsys.readouterr().err
