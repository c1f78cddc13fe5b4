"""Step times as a table, with where every number came from: what a measured engine's steps cost."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from sim.errors import BadScenario

MIXED = ("separate", "joint")


@dataclass(frozen=True, slots=True)
class StepTable:
    """Time of a decode pass by batch and context and of a prompt pass by tokens, exact at the knots."""

    decode_batches: tuple[int, ...]
    decode_contexts: tuple[int, ...]  # tokens held per sequence, mean over the batch
    decode_ms: tuple[tuple[float, ...], ...]  # [batch][context]
    prefill_tokens: tuple[int, ...]
    prefill_ms: tuple[float, ...]  # one pass of so many prompt tokens, without what ms_per_cell prices
    mixed: str  # separate: decodes and prompts are different passes; joint: one pass carries both
    per_decode_row_in_mixed_ms: float = 0.0  # added to the prompt's time for each decode in a joint pass
    prefill_ms_per_cell: float = 0.0  # for each pair of a prompt token and a cached token it attends to
    masked_ms_per_cell: float = 0.0  # for each pair of a token and another sequence's cell it skips over
    step_overhead_ms: float = 0.0  # between two steps, outside both
    client_latency_ms: float = 0.0  # of TTFT, outside the steps and outside request_overhead_ms
    request_overhead_ms: float = 0.0  # the front end's time for a request; it takes them one at a time
    source: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_knots("decode_batches", self.decode_batches)
        _require_knots("decode_contexts", self.decode_contexts)
        _require_knots("prefill_tokens", self.prefill_tokens)
        if len(self.decode_ms) != len(self.decode_batches):
            raise BadScenario(
                f"step table: decode_ms has {len(self.decode_ms)} rows for {len(self.decode_batches)} decode_batches"
            )
        for batch, row in zip(self.decode_batches, self.decode_ms, strict=True):
            _require_times(f"decode_ms at batch {batch}", row, "decode_contexts", len(self.decode_contexts))
        _require_times("prefill_ms", self.prefill_ms, "prefill_tokens", len(self.prefill_tokens))
        if self.mixed not in MIXED:
            raise BadScenario(f"step table: mixed is '{self.mixed}', it must be one of {', '.join(MIXED)}")
        for name in SCALARS:
            _require_number(name, getattr(self, name))

    def decode_time_ms(self, batch: float, mean_context: float) -> float:
        """One pass that gives each of `batch` sequences one token; the edge segments go on beyond the knots."""
        by_batch = [interpolate(self.decode_contexts, row, mean_context) for row in self.decode_ms]
        return interpolate(self.decode_batches, by_batch, batch)

    def prefill_time_ms(self, tokens: float, cells: float = 0.0, masked_cells: float = 0.0) -> float:
        """One pass of `tokens` prompt tokens that attend to `cells` (token, cached token) pairs in all."""
        weights = interpolate(self.prefill_tokens, self.prefill_ms, tokens)
        return weights + self.prefill_ms_per_cell * cells + self.masked_ms_per_cell * masked_cells

    def save(self, path: Path | str) -> None:
        """Write the table as JSON that `load` reads back unchanged."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


SCALARS = tuple(f.name for f in fields(StepTable) if f.type is float)


def load(path: Path | str) -> StepTable:
    """The table kept in a JSON file; what it lacks, or has too much of, is said by name."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadScenario(f"step table {path}: cannot be read ({error})") from error
    try:
        return StepTable(**_checked_fields(raw))
    except BadScenario as error:
        raise BadScenario(f"{path}: {error}") from error


def interpolate(knots: Sequence[int], values: Sequence[float], x: float) -> float:
    """The piecewise line through (knot, value); beyond the ends the nearest segment goes on."""
    if len(knots) == 1:
        return values[0]
    right = next((i for i in range(1, len(knots) - 1) if x <= knots[i]), len(knots) - 1)
    left = right - 1
    share = (x - knots[left]) / (knots[right] - knots[left])
    return values[left] * (1.0 - share) + values[right] * share


def _checked_fields(raw: Any) -> dict[str, Any]:
    """The constructor's arguments out of parsed JSON, lists made tuples."""
    if not isinstance(raw, dict):
        raise BadScenario("step table: the file must hold one JSON object")
    known = {f.name for f in fields(StepTable)}
    needed = ("decode_batches", "decode_contexts", "decode_ms", "prefill_tokens", "prefill_ms", "mixed")
    if unknown := sorted(set(raw) - known):
        raise BadScenario(f"step table: unknown field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    if missing := [name for name in needed if name not in raw]:
        raise BadScenario(f"step table: missing field {', '.join(missing)}")
    if not isinstance(raw.get("source", {}), dict):
        raise BadScenario("step table: source must be an object of strings")
    return {name: _as_tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def _as_tuple(values: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(v) if isinstance(v, list) else v for v in values)


def _require_knots(name: str, knots: Any) -> None:
    if not isinstance(knots, tuple) or not knots:
        raise BadScenario(f"step table: {name} must be a list of at least one whole number")
    for knot in knots:
        if not isinstance(knot, int) or isinstance(knot, bool) or knot < 1:
            raise BadScenario(f"step table: {name} has {knot!r}, knots are whole numbers of 1 or more")
    for before, after in pairwise(knots):
        if after <= before:
            raise BadScenario(f"step table: {name} must rise, but {after} follows {before}")


def _require_times(name: str, times: Any, knots_name: str, count: int) -> None:
    if not isinstance(times, tuple) or len(times) != count:
        found = len(times) if isinstance(times, tuple) else repr(times)
        raise BadScenario(f"step table: {name} has {found} values for {count} {knots_name}")
    for value in times:
        _require_number(name, value)


def _require_number(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise BadScenario(f"step table: {name} has {value!r}, times are finite numbers of 0 ms or more")
