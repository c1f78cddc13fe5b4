"""llama-batched-bench, as a Markdown table or JSON lines: B equal prompts computed and then decoded as one batch."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from calibration.parsing.jsonrows import json_rows
from calibration.parsing.llamatext import has_table, model_and_weights, table_rows, weights_by_heading
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.rows import Row, gather, ratio
from calibration.points import Point, Reading

FORMAT = "llama-batched-bench"
PITFALLS = (
    Pitfall("T_PP is the time of all prompts together, so it stands as the TTFT of each of them", under("offline")),
    Pitfall("the first row of a run also warms the program up, which shows in its T_PP", under("offline")),
)

COLUMNS = {"PP": "pp", "TG": "tg", "B": "pl", "N_KV": "n_kv", "T_PP s": "t_pp", "T_TG s": "t_tg", "T s": "t"}
OPTIONS = {
    "batch-size": "n_batch",
    "ubatch-size": "n_ubatch",
    "flash-attn": "flash_attn",
    "n-gpu-layers": "n_gpu_layers",
}


def recognises(head: str) -> bool:
    """By the names of the two times."""
    return ('"t_pp"' in head and '"t_tg"' in head) or has_table(head, "T_PP s", "T_TG s")


def read(text: str, source: str, path: Path) -> Reading:
    """Three points a row: the whole batch, its prompts, and one step of its decoding."""
    rows, broken = json_rows(text, str(path)) if '"t_pp"' in text else ([], [])
    rows += table_rows(text, COLUMNS, "T_PP s")
    batches, rejected = gather(rows, partial(_batch, source, weights_by_heading(text)), str(path))
    points = [point for batch in batches for point in (batch, *_parts(batch))]
    return Reading(
        FORMAT, tuple(points), (*broken, *rejected), {"rows": float(len(batches))}, warnings(PITFALLS, points)
    )


def _batch(source: str, formats: Mapping[str, str], row: Row) -> Point:
    if "cells" in row:
        raise row.refuse("cells", row.text("cells"))
    prompt, output, sequences = row.needed("pp"), row.needed("tg"), row.needed("pl")
    _refuse_what_no_server_does(row, prompt, output, sequences)
    prompt_s, decode_s = row.needed("t_pp"), row.needed("t_tg")
    model, weights = model_and_weights(row.text("heading"))
    return Point(
        source_id=source,
        engine="llama.cpp",
        engine_version=row.text("build"),
        engine_options=";".join(f"{name}={row.text(key)}" for name, key in OPTIONS.items() if key in row),
        gpu=row.text("device") or "unstated",
        gpu_count=row.whole("devices") or 1,
        model=model or "unstated",
        weights=weights or formats.get(row.text("heading"), ""),
        load="offline",
        load_value=sequences,
        slots=row.whole("pl"),
        context=int(prompt + output),
        kv_tokens=row.whole("n_kv_max"),
        prompt_tokens=prompt,
        output_tokens=output,
        output_tps=ratio(sequences * output, prompt_s + decode_s),
        ttft_ms_mean=1e3 * prompt_s,
        tpot_ms_mean=1e3 * decode_s / output,
        e2e_ms_mean=1e3 * (prompt_s + decode_s),
        notes="throughput of the whole batch, prompts included",
    )


def _parts(batch: Point) -> tuple[Point, Point]:
    """The prompts of a batch, and its decoding at the context that it has on average."""
    prompt, output = batch.prompt_tokens or 0.0, batch.output_tokens or 0.0
    bare = replace(batch, output_tps=None, e2e_ms_mean=None, context=None, output_tokens=None, notes="")
    prompts = replace(bare, load="prefill", load_value=batch.load_value * prompt, tpot_ms_mean=None)
    step = replace(bare, load="decode_step", depth_tokens=prompt + output / 2, prompt_tokens=None, ttft_ms_mean=None)
    return prompts, replace(step, output_tps=ratio(1e3 * batch.load_value, batch.tpot_ms_mean))


def _refuse_what_no_server_does(row: Row, prompt: float, output: float, sequences: float) -> None:
    if row.whole("is_tg_separate"):
        raise row.refuse("is_tg_separate", "the sequences were decoded one after another, not as a batch")
    shared = row.whole("is_pp_shared") or (sequences > 1 and row.amount("n_kv") == prompt + sequences * output)
    if shared:
        raise row.refuse("n_kv", "all sequences share one prompt, which no load of the points table does")
