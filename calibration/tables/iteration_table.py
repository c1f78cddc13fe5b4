"""A step table out of vLLM's own log of its steps (one row a step: prompts, prompt tokens, decodes, elapsed)."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from calibration.tables.steptable import StepTable
from sim.errors import BadScenario

MIN_STEPS_PER_BATCH = 10
COUNTS = ("ctx_reqs", "ctx_tokens", "gen_reqs", "gen_tokens")
PREFILL_KNOTS = (16, 128, 512, 2048)


@dataclass(frozen=True, slots=True)
class Iteration:
    """One engine step as the engine logged it; `gen_tokens` above `gen_reqs` hides a resumed prompt."""

    ctx_reqs: int
    ctx_tokens: int
    gen_reqs: int
    gen_tokens: int
    elapsed_ms: float


def read_iterations(file: TextIO) -> list[Iteration]:
    """The steps of an iterations CSV, in the order they ran."""
    return [_iteration(row) for row in csv.DictReader(file)]


def _iteration(row: Mapping[str, str]) -> Iteration:
    try:
        ctx_reqs, ctx_tokens, gen_reqs, gen_tokens = (int(row[name]) for name in COUNTS)
        return Iteration(ctx_reqs, ctx_tokens, gen_reqs, gen_tokens, float(row["elapsed_ms"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadScenario(f"iterations: the row {dict(row)} cannot be read ({error!r})") from error


def from_iterations(rows: Iterable[Iteration], *, source: dict[str, str] | None = None) -> StepTable:
    """Decode by batch at the one context the log can speak of; prompts by tokens of the whole step."""
    clean = [row for row in rows if row.gen_tokens == row.gen_reqs]
    decode = _decode_means(clean)
    row_ms = _decode_row_ms(decode)
    return StepTable(
        decode_batches=tuple(decode),
        decode_contexts=(_typical_context(clean),),
        decode_ms=tuple((ms,) for ms in decode.values()),
        prefill_tokens=PREFILL_KNOTS,
        prefill_ms=_prefill_line([row for row in clean if row.ctx_reqs], row_ms),
        mixed="joint",
        per_decode_row_in_mixed_ms=row_ms,
        source=source or {},
    )


def _decode_means(rows: list[Iteration]) -> dict[int, float]:
    """A request lives through the sum of its steps, so the mean counts; batches seen a few times are left out."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if not row.ctx_reqs:
            found.setdefault(row.gen_reqs, []).append(row.elapsed_ms)
    means = {batch: fmean(found[batch]) for batch in sorted(found) if len(found[batch]) >= MIN_STEPS_PER_BATCH}
    if len(means) < 2:
        raise BadScenario(f"iterations: two decode batches with {MIN_STEPS_PER_BATCH} steps each are needed")
    return means


def _decode_row_ms(decode: dict[int, float]) -> float:
    """One more row in a step, taken from decode-only steps: mixed steps are too few and too long to show it."""
    few, many = min(decode), max(decode)
    return max(0.0, (decode[many] - decode[few]) / (many - few))


def _typical_context(rows: list[Iteration]) -> int:
    """A request's mean prompt plus half of what it goes on to generate."""
    prompts = sum(row.ctx_reqs for row in rows)
    if not prompts:
        raise BadScenario("iterations: no step carries a prompt")
    return round((sum(row.ctx_tokens for row in rows) + sum(row.gen_tokens for row in rows) / 2) / prompts)


def _prefill_line(rows: list[Iteration], row_ms: float) -> tuple[float, ...]:
    """The piecewise line over the knots that is nearest to the prompt steps, by relative error."""
    tokens = np.array([row.ctx_tokens for row in rows], dtype=float)
    times = np.array([row.elapsed_ms - row_ms * row.gen_reqs for row in rows])
    hats = np.stack([np.interp(tokens, PREFILL_KNOTS, unit) for unit in np.eye(len(PREFILL_KNOTS))], axis=1)
    if np.linalg.matrix_rank(hats) < len(PREFILL_KNOTS):
        raise BadScenario(f"iterations: prompt steps on every side of the knots {PREFILL_KNOTS} are needed")
    weighted: NDArray[np.float64] = hats / times[:, None]
    line = np.linalg.lstsq(weighted, np.ones(len(rows)), rcond=None)[0]
    return tuple(float(ms) for ms in line)
