"""A step table out of llama-batched-bench rows: batches of equal sequences, timed apart for prompt and decode."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from calibration.tables.steptable import StepTable, interpolate
from sim.errors import BadScenario

Row = Mapping[str, Any]
Shape = tuple[int, int]  # prompt tokens, parallel sequences
Grid = dict[int, list[float]]  # decode ms by batch, then context


def from_batched_bench(rows: Iterable[Row], *, unified: bool, source: dict[str, str] | None = None) -> StepTable:
    """The rows as they stand for a split cache; a unified one prices apart the other sequences' cells it skips over."""
    run = fullest_run(list(rows))
    if unified and not ran_unified(run):
        raise BadScenario("batched bench: these rows may come from a split cache, which cannot show masked cells")
    cell_ms, masked_ms = _cell_prices(run, unified)
    contexts, decode = _unmasked_decode_grid(run, masked_ms)
    tokens, prompt_ms = _pass_times(run, contexts, decode, cell_ms, masked_ms)
    return StepTable(
        decode_batches=tuple(decode),
        decode_contexts=contexts,
        decode_ms=_with_masked(contexts, decode, masked_ms),
        prefill_tokens=tokens,
        prefill_ms=prompt_ms,
        mixed="joint" if unified else "separate",
        per_decode_row_in_mixed_ms=_decode_row_ms(decode) if unified else 0.0,
        prefill_ms_per_cell=cell_ms,
        masked_ms_per_cell=masked_ms,
        source=source or {},
    )


def fullest_run(rows: Sequence[Row]) -> list[Row]:
    """The run with most shapes: a shape seen again means that the program was started anew."""
    runs: list[list[Row]] = [[]]
    for row in rows:
        if any((row["pp"], row["tg"], row["pl"]) == (r["pp"], r["tg"], r["pl"]) for r in runs[-1]):
            runs.append([])
        runs[-1].append(row)
    return max(runs, key=len)


def ran_unified(run: Sequence[Row]) -> bool:
    """A split cache gives a sequence its share of the cells and no more, so longer rows prove a unified one."""
    share = run[0]["n_kv_max"] // max(row["pl"] for row in run)
    return any(row["pp"] + row["tg"] > share for row in run)


def _causal_cells(tokens: int) -> float:
    return tokens * (tokens + 1) / 2


def _masked_cells(shape: Shape) -> float:
    """The other prompts' cells that come before a token in a unified cache."""
    prompt, sequences = shape
    return _causal_cells(prompt * sequences) - sequences * _causal_cells(prompt)


def _cell_prices(run: Sequence[Row], unified: bool) -> tuple[float, float]:
    """What a prompt token pays for a cell it attends to and for one it skips (least squares, by relative error)."""
    if len({row["pp"] for row in run}) < 2:
        raise BadScenario("batched bench: prompts of two lengths are needed to price attention")
    terms = []
    for row in run:
        shape, tokens = (row["pp"], row["pl"]), row["pp"] * row["pl"]
        # passes over the weights, tokens, cells attended to, cells skipped
        skipped = _masked_cells(shape) if unified else 0.0
        terms.append((math.ceil(tokens / row["n_ubatch"]), tokens, row["pl"] * _causal_cells(row["pp"]), skipped))
    relative = np.array(terms) / np.array([1e3 * row["t_pp"] for row in run])[:, None]
    prices = np.linalg.lstsq(relative, np.ones(len(run)), rcond=None)[0]
    return max(0.0, float(prices[2])), max(0.0, float(prices[3]))


def _unmasked_decode_grid(run: Sequence[Row], masked_ms: float) -> tuple[tuple[int, ...], Grid]:
    """Decode by batch and context without masked cells; the middle of the tg steps stands for their context."""
    generated = {row["tg"] for row in run}
    if len(generated) != 1:
        raise BadScenario(f"batched bench: rows of one tg are needed, found {sorted(generated)}")
    steps = generated.pop()
    contexts = tuple(sorted({row["pp"] + steps // 2 for row in run}))
    measured = {(row["pl"], row["pp"] + steps // 2): 1e3 * row["t_tg"] / steps for row in run}
    grid: Grid = {}
    for batch in sorted({pl for pl, _ in measured}):
        cell_ms = _growth_per_cell(grid, contexts)
        line: list[float] = []
        for context in contexts:
            known = measured.get((batch, context))
            if known is not None:
                line.append(known - masked_ms * batch * (batch - 1) * context)
            elif line and cell_ms:
                # not run at this batch: that many more cells at the price of the batch below
                line.append(line[-1] + cell_ms * batch * (context - contexts[len(line) - 1]))
            else:
                raise BadScenario(f"batched bench: batch {batch} lacks the context {context} and nothing stands for it")
        grid[batch] = line
    return contexts, grid


def _growth_per_cell(grid: Grid, contexts: tuple[int, ...]) -> float:
    """What one more cached token of one sequence costs, at the largest batch so far."""
    if not grid:
        return 0.0
    batch = max(grid)
    return (grid[batch][-1] - grid[batch][0]) / (contexts[-1] - contexts[0]) / batch


def _with_masked(contexts: tuple[int, ...], grid: Grid, masked_ms: float) -> tuple[tuple[float, ...], ...]:
    return tuple(
        tuple(ms + masked_ms * batch * (batch - 1) * context for ms, context in zip(line, contexts, strict=True))
        for batch, line in grid.items()
    )


def _pass_times(
    run: Sequence[Row], contexts: tuple[int, ...], decode: Grid, cell_ms: float, masked_ms: float
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Time of a pass by its tokens, attention taken out; decodes at no context are the passes of few tokens."""
    found = {batch: [interpolate(contexts, line, 0.0)] for batch, line in decode.items()}
    for row in run:
        tokens = min(row["n_ubatch"], row["pp"] * row["pl"])
        passes, left = divmod(row["pp"] * row["pl"], tokens)
        attention = cell_ms * row["pl"] * _causal_cells(row["pp"]) + masked_ms * _masked_cells((row["pp"], row["pl"]))
        if not left:
            found.setdefault(tokens, []).append((1e3 * row["t_pp"] - attention) / passes)
    return tuple(sorted(found)), tuple(fmean(found[tokens]) for tokens in sorted(found))


def _decode_row_ms(decode: Grid) -> float:
    """One more decode in a pass that reads the weights anyway, at the middle context (batch 1 is its own kernel)."""
    batched = [batch for batch in decode if batch > 1]
    few, many = min(batched), max(batched)
    return (fmean(decode[many]) - fmean(decode[few])) / (many - few)
