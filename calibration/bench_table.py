"""A step table out of llama-batched-bench rows: batches of equal sequences, timed apart for prompt and decode."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from calibration.steptable import StepTable, interpolate
from sim.errors import BadScenario

# A masked cell costs one compare in each head of each layer; a nanosecond each is an estimate, no row of
# the benchmark measures it.
MASK_CHECK_MS = 1e-6

Shape = tuple[int, int]  # prompt tokens, parallel sequences


def from_batched_bench(
    rows: Iterable[Mapping[str, Any]],
    *,
    unified: bool = False,
    head_layers: int = 0,
    source: dict[str, str] | None = None,
) -> StepTable:
    """The table of a split cache, or of a unified one in which every row skips over the other sequences' cells."""
    rows = list(rows)
    contexts, decode = _decode_grid(rows)
    cell_ms = _prompt_cell_ms(rows)
    tokens, prompt_ms = _pass_times(rows, contexts, decode, cell_ms)
    masked_ms = MASK_CHECK_MS * head_layers if unified else 0.0
    return StepTable(
        decode_batches=tuple(decode),
        decode_contexts=contexts,
        decode_ms=tuple(
            tuple(ms + masked_ms * batch * (batch - 1) * context for ms, context in zip(times, contexts, strict=True))
            for batch, times in decode.items()
        ),
        prefill_tokens=tokens,
        prefill_ms=prompt_ms,
        mixed="joint" if unified else "separate",
        per_decode_row_in_mixed_ms=_decode_row_ms(decode) if unified else 0.0,
        prefill_ms_per_cell=cell_ms,
        masked_ms_per_cell=masked_ms,
        source=source or {},
    )


def _mean_by_shape(rows: Sequence[Mapping[str, Any]], key: str) -> dict[Shape, float]:
    """Repeated measurements of one shape count as one, their mean."""
    found: dict[Shape, list[float]] = {}
    for row in rows:
        found.setdefault((row["pp"], row["pl"]), []).append(1e3 * row[key])
    return {shape: fmean(times) for shape, times in found.items()}


def _decode_grid(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, ...], dict[int, list[float]]]:
    """Decode step by batch at each context; a context grows over the tg steps, its middle stands for it."""
    steps = {row["tg"] for row in rows}
    if len(steps) != 1:
        raise BadScenario(f"batched bench: rows of one tg are needed, found {sorted(steps)}")
    generated = steps.pop()
    times = {shape: ms / generated for shape, ms in _mean_by_shape(rows, "t_tg").items()}
    prompts = sorted({pp for pp, _ in times})
    contexts = tuple(pp + generated // 2 for pp in prompts)
    grid: dict[int, list[float]] = {}
    for batch in sorted({pl for _, pl in times}):
        cell_ms = _cell_ms_up_to(grid, contexts)
        line: list[float] = []
        for i, pp in enumerate(prompts):
            # a context that was not run at this batch: as many more cells at the price of the batch below
            known = times.get((pp, batch))
            line.append(_extended(line, contexts, i, batch * cell_ms, batch) if known is None else known)
        grid[batch] = line
    return contexts, grid


def _extended(line: list[float], contexts: tuple[int, ...], i: int, ms_per_context: float, batch: int) -> float:
    if not line or not ms_per_context:
        raise BadScenario(
            f"batched bench: batch {batch} lacks the context {contexts[i]}, and none below can stand for it"
        )
    return line[-1] + ms_per_context * (contexts[i] - contexts[i - 1])


def _cell_ms_up_to(grid: dict[int, list[float]], contexts: tuple[int, ...]) -> float:
    """What one more cached token of one sequence costs, at the largest batch so far."""
    if not grid or len(contexts) < 2:
        return 0.0
    batch = max(grid)
    return (grid[batch][-1] - grid[batch][0]) / (contexts[-1] - contexts[0]) / batch


def _causal_cells(shape: Shape) -> float:
    prompt, sequences = shape
    return sequences * prompt * (prompt + 1) / 2


def _prompt_cell_ms(rows: Sequence[Mapping[str, Any]]) -> float:
    """Attention's price: one pass of as many tokens is dearer as one long prompt than as several short ones."""
    ubatch = rows[0]["n_ubatch"]
    one_pass = {shape: ms for shape, ms in _mean_by_shape(rows, "t_pp").items() if shape[0] * shape[1] == ubatch}
    if len(one_pass) < 2:
        raise BadScenario(f"batched bench: two shapes of {ubatch} prompt tokens are needed to price attention")
    long, short = max(one_pass), min(one_pass)
    return (one_pass[long] - one_pass[short]) / (_causal_cells(long) - _causal_cells(short))


def _pass_times(
    rows: Sequence[Mapping[str, Any]], contexts: tuple[int, ...], decode: dict[int, list[float]], cell_ms: float
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Time of a pass by its tokens, attention taken out; decodes at no context are the passes of few tokens."""
    ubatch = rows[0]["n_ubatch"]
    found: dict[int, list[float]] = {b: [interpolate(contexts, times, 0.0)] for b, times in decode.items()}
    for shape, ms in _mean_by_shape(rows, "t_pp").items():
        tokens = min(ubatch, shape[0] * shape[1])
        passes, left = divmod(shape[0] * shape[1], tokens)
        if not left:
            found.setdefault(tokens, []).append((ms - cell_ms * _causal_cells(shape)) / passes)
    return tuple(sorted(found)), tuple(median(found[tokens]) for tokens in sorted(found))


def _decode_row_ms(decode: dict[int, list[float]]) -> float:
    """One more decode in a pass that reads the weights anyway, at the middle context (batch 1 is its own kernel)."""
    batched = [batch for batch in decode if batch > 1]
    few, many = min(batched), max(batched)
    return (fmean(decode[many]) - fmean(decode[few])) / (many - few)
