"""llama-server's answers: the `timings` that close a stream, or that a whole answer carries."""

import re
from collections.abc import Iterator
from pathlib import Path

from calibration.parsing.answers import Answer, answer, points
from calibration.parsing.jsonrows import json_rows
from calibration.parsing.rows import BadField, Row
from calibration.points import Point, Reading, Rejected

FORMAT = "llama-server timings"
PITFALLS = (
    "each answer is taken as one that ran alone, for it does not say what ran beside it",
    "prompt_ms begins when a slot takes the request: waiting for a slot is in no field",
    "predicted_ms spans one token fewer than predicted_n; it is divided by n-1 here, unlike predicted_per_token_ms",
    "prompt_n counts evaluated tokens; those that the slot had kept (cache_n) stand as depth_tokens",
)

EVENT = re.compile(r"^data: ?", re.MULTILINE)


def recognises(head: str) -> bool:
    """By the fields of the timings; a recording that holds them is another format."""
    return '"timings"' in head and '"predicted_ms"' in head and '"t_tokens"' not in head


def read(text: str, source: str, path: Path) -> Reading:
    """A point for each model and length of prompt."""
    rows, rejected = json_rows(EVENT.sub("", text).replace("[DONE]", ""), str(path))
    answers, guessed, count = list[Answer](), False, 0
    for row in _final(rows):
        count += 1
        try:
            answers.append(_answer(row))
            guessed |= bool(row.inside("timings").amount("draft_n"))
        except BadField as bad:
            rejected.append(Rejected(str(path), row.line, bad.field, bad.reason))
    server = Point(source, "llama.cpp", "single", 1.0, engine_options="speculative" * guessed)
    return Reading(FORMAT, tuple(points(answers, server)), tuple(rejected), {"requests": float(count)}, PITFALLS)


def _final(rows: list[Row]) -> Iterator[Row]:
    """Answers and the last chunks of streams; chunks before them may carry timings of the moment."""
    for row in rows:
        choices = row.values.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        unfinished = isinstance(first, dict) and "finish_reason" in first and first["finish_reason"] is None
        if "timings" in row and not unfinished and row.values.get("stop") is not False:
            yield row


def _answer(row: Row) -> Answer:
    timings = row.inside("timings")
    return answer(
        timings,
        *("prompt_ms", "prompt_n", "predicted_ms", "predicted_n"),
        model=row.text("model"),
        kept_tokens=timings.amount("cache_n"),
    )
