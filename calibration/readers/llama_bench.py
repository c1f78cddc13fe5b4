"""llama-bench, as Markdown, CSV, JSON or JSON lines: one sequence alone, prompt and decoding measured apart."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from calibration import catalog, naming
from calibration.parsing.llamaforms import bench_rows
from calibration.parsing.llamatext import has_table, model_and_weights
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.rows import Row, gather
from calibration.points import Point, Reading, noted
from calibration.readers._llama_cards import card_and_count
from calibration.readers._llama_layers import SPLIT, on_the_processor, with_split

FORMAT = "llama-bench"
PITFALLS = (
    Pitfall("neither tokenisation nor sampling is inside, nor any server: a request through one takes longer"),
    Pitfall("-ub is tokens of one prompt at a time, not users: these figures are of the kernels", under("microbatch")),
    Pitfall(
        "t/s of a pg test counts prompt and answer together: it is taken apart", lambda point: bool(point.e2e_ms_mean)
    ),
    Pitfall("layers that -ngl left to the CPU slow every token down", lambda point: SPLIT in point.notes),
)

DEFAULT_UBATCH = 512
OPTIONS = {
    "n-gpu-layers": "n_gpu_layers",
    "batch-size": "n_batch",
    "ubatch-size": "n_ubatch",
    "flash-attn": "flash_attn",
    "cache-type-k": "type_k",
    "cache-type-v": "type_v",
    "split-mode": "split_mode",
    "no-kv-offload": "no_kv_offload",
    "threads": "n_threads",
}
ASKS_A_SERVER = "ttfr (ms)"
WIDE = ("fp16", "bf16", "f32")
NARROW_BITS = 8.0


def recognises(head: str) -> bool:
    """By the columns that name a test and its speed."""
    machine = "avg_ts" in head and "n_gen" in head and "n_prompt" in head and "INSERT INTO" not in head
    return machine or has_table(head, "test", "t/s")


def read(text: str, source: str, path: Path) -> Reading:
    """A point a test."""
    rows, broken = bench_rows(text, str(path))
    points, rejected = gather(rows, partial(_point, source), str(path))
    return Reading(FORMAT, tuple(points), (*broken, *rejected), warnings=warnings(PITFALLS, points))


def finished(reading: Reading) -> Reading:
    """The reading once its models are known: how many layers there are tells whether some were left to the CPU."""
    points = tuple(map(with_split, reading.points))
    told = dict.fromkeys((*reading.warnings, *warnings(PITFALLS, points)))
    return replace(reading, points=points, warnings=tuple(told))


def _point(source: str, row: Row) -> Point:
    if "cells" in row:
        raise row.refuse("cells", row.text("cells"))
    if ASKS_A_SERVER in row.values:
        raise row.refuse(ASKS_A_SERVER, "is llama-benchy's, which times a server of any engine from outside")
    speed, prompt, output = row.needed("avg_ts"), row.amount("n_prompt") or 0.0, row.amount("n_gen") or 0.0
    if not prompt and not output:
        raise row.refuse("test", f"'{row.text('test')}' is neither a prompt (pp) nor an answer (tg)")
    bare = _bare(source, row)
    if output:
        return _generation(bare, speed, prompt, output)
    return _prompt(bare, speed, prompt, min(row.whole("n_ubatch") or DEFAULT_UBATCH, row.whole("n_batch") or 2048))


def _prompt(bare: Point, speed: float, prompt: float, ubatch: int) -> Point:
    """The time to compute a prompt, or of one of its micro-batches where they are finer than any engine's."""
    if 0 < ubatch < min(prompt, DEFAULT_UBATCH):
        return replace(
            bare,
            load="microbatch",
            load_value=float(ubatch),
            prompt_tokens=prompt,
            output_tps=speed,
            tpot_ms_mean=1e3 * ubatch / speed,
            notes=noted(bare.notes, "tpot is the time of one micro-batch"),
        )
    return replace(bare, load="prefill", load_value=prompt, prompt_tokens=prompt, ttft_ms_mean=1e3 * prompt / speed)


def _generation(bare: Point, speed: float, prompt: float, output: float) -> Point:
    """An answer of one sequence, alone or after its prompt."""
    if not prompt:
        per_token_ms = 1e3 / speed
        return replace(bare, prompt_tokens=1.0, output_tokens=output, output_tps=speed, tpot_ms_mean=per_token_ms)
    seconds = (prompt + output) / speed
    return replace(
        bare, prompt_tokens=prompt, output_tokens=output, output_tps=output / seconds, e2e_ms_mean=1e3 * seconds
    )


def _bare(source: str, row: Row) -> Point:
    """What was run, without what came of it."""
    model, weights = model_and_weights(row.text("model_filename") or row.text("model_type"))
    if "heading" in row and _size(heading := model_and_weights(row.text("heading"))[0]) == _size(model):
        # the bench tells an architecture and a size: a page's heading tells which model it is
        model = heading if naming.is_model(naming.model_and_format(heading)[0]) else model
    gpu, count = card_and_count(row)
    return Point(
        source_id=source,
        engine="llama.cpp",
        engine_version=f"b{row.text('build_number')}" if "build_number" in row else row.text("build"),
        engine_options=";".join(f"{name}={_option(row, key)}" for name, key in OPTIONS.items() if key in row),
        gpu=gpu,
        gpu_count=count,
        model=model or "unstated",
        weights=_weights(row, model, weights),
        load="single",
        load_value=1.0,
        slots=1,
        depth_tokens=row.amount("n_depth"),
        notes=noted(row.text("backends"), on_the_processor(row, gpu, model)),
    )


def _weights(row: Row, model: str, named: str) -> str:
    """The format that the file's name ends on; what llama-bench calls it where the catalogue has no such format."""
    known = naming.model_and_format(model)[0]
    weights = named if naming.is_format(named, known) else model_and_weights(row.text("model_type"))[1] or named
    size, parameters = row.amount("model_size"), row.amount("model_n_params")
    if weights not in WIDE or not size or not parameters or 8 * size / parameters > NARROW_BITS:
        return weights
    # of a mixture that is published in 4 bits, the name tells the format of what is around its experts
    return catalog.model(known).native_weights if naming.is_model(known) else ""


def _size(model: str) -> str:
    """The parameters that a model's name ends on, as `7b`; its own name where it has none."""
    sizes = re.findall(r"\d+(?:\.\d+)?b", model.lower())
    return sizes[0] if sizes else model


def _option(row: Row, key: str) -> str:
    """An option's value, spelled alike in every form."""
    text = row.text(key)
    return {"True": "1", "False": "0"}.get(text, text)
