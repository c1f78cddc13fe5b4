"""vLLM's iteration details, in a server's log or as a CSV: every step with what it computed and how long it took."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log2
from pathlib import Path
from statistics import fmean, median

from calibration.parsing.iteration_rows import is_table, log_rows, table_rows
from calibration.parsing.rows import BadField, Row
from calibration.parsing.vllm_header import header_of
from calibration.points import Point, Reading, Rejected

FORMAT = "vLLM iteration details"
PITFALLS = (
    "elapsed time is the engine's, from the decision to the output; what the API server adds is in none of it",
    "steps that carry both prompts and decodes are left out, for their time is of both",
    "a prompt that is resumed counts as generation; steps with more generated tokens than requests are left out",
    "a prompt's chunks are steps of their own, whose earlier chunks are not in the figures",
    "the context of a decode step is that of the blocks in use, shared by its requests; in a CSV, that of all requests",
)
COUNTS = ("ctx_reqs", "ctx_tokens", "gen_reqs", "gen_tokens")
FEWEST = 3  # steps that make a point
STEPS_OF_AN_OCTAVE = 4  # prompts whose lengths are nearer than this are put together


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the engine."""

    prompts: int
    prompt_tokens: int
    decodes: int
    ms: float
    context: float | None  # of a decode, on average

    @property
    def kind(self) -> tuple[int, int, int]:
        """What steps have in common that make one point."""
        if self.decodes:
            return 1, self.decodes, int(self.context or 0).bit_length()
        return 0, round(STEPS_OF_AN_OCTAVE * log2(self.prompt_tokens)), 0


def recognises(head: str) -> bool:
    """By a line about a step, or the columns of the table."""
    return ("Iteration(" in head and "iteration elapsed time:" in head) or is_table(head)


def read(text: str, source: str, path: Path) -> Reading:
    """A point for each number of decodes at a context, and for each length of prompts alone."""
    header = header_of(text)
    rows = table_rows(text, str(path)) if is_table(text) else log_rows(text)
    steps, others, rejected = _sorted(rows, header.kv_tokens, str(path))
    kinds: dict[tuple[int, int, int], list[Step]] = {}
    for step in steps:
        kinds.setdefault(step.kind, []).append(step)
    context = _typical_context(steps)
    server = header.server(source)
    found = [_point(kinds[kind], context, server) for kind in sorted(kinds) if len(kinds[kind]) >= FEWEST]
    rare = sum(len(kind) for kind in kinds.values() if len(kind) < FEWEST)
    all_steps = len(steps) + others
    left = f"of {all_steps} steps, {others} mix prompts and decodes and {rare} have fewer than {FEWEST} like them"
    facts = {**header.facts, "steps": float(all_steps)}
    return Reading(FORMAT, tuple(found), tuple(rejected), facts, (*PITFALLS, left))


def _sorted(rows: Iterable[Row], pool: int | None, file: str) -> tuple[list[Step], int, list[Rejected]]:
    """Steps of one sort, the number of mixed ones, and rows that cannot be read."""
    steps, others, rejected = list[Step](), 0, list[Rejected]()
    usage = 0.0
    for row in rows:
        try:
            prompts, prompt_tokens, decodes, tokens = (_count(row, name) for name in COUNTS)
            ms = row.needed("elapsed_ms")
            # the last request's blocks are free when its last step is printed
            usage = row.amount("usage") or usage
        except BadField as bad:
            rejected.append(Rejected(file, row.line, bad.field, bad.reason))
            continue
        if (prompts and decodes) or tokens != decodes or not (decodes or prompt_tokens):
            others += 1
            continue
        context = usage / 100 * pool / decodes if usage and pool and decodes else None
        steps.append(Step(prompts, prompt_tokens, decodes, ms, context))
    return steps, others, rejected


def _count(row: Row, name: str) -> int:
    count = row.whole(name)
    if count is None:
        raise row.refuse(name, "is missing")
    return count


def _typical_context(steps: list[Step]) -> float | None:
    """A request's mean prompt and half of what it goes on to generate, by the steps that can be told apart."""
    prompts = sum(step.prompts for step in steps if not step.decodes)
    if not prompts:
        return None
    return (sum(step.prompt_tokens for step in steps) + sum(step.decodes for step in steps) / 2) / prompts


def _point(steps: list[Step], context: float | None, server: Point) -> Point:
    times = [step.ms for step in steps]
    notes = f"{len(steps)} steps as the engine timed them"
    if steps[0].decodes:
        known = [step.context for step in steps if step.context is not None]
        return replace(
            server,
            load="decode_step",
            load_value=float(steps[0].decodes),
            depth_tokens=fmean(known) if known else context,
            output_tps=1e3 * steps[0].decodes / fmean(times),
            tpot_ms_mean=fmean(times),
            notes=notes,
        )
    tokens = fmean(step.prompt_tokens for step in steps)
    return replace(
        server,
        load="prefill",
        load_value=float(round(tokens)),
        prompt_tokens=tokens * len(steps) / sum(max(1, step.prompts) for step in steps),
        ttft_ms_mean=fmean(times),
        ttft_ms_p50=median(times),
        notes=notes,
    )
