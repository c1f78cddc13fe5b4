"""What `ollama run --verbose` prints below each answer: the API's timings, with durations as Go writes them."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from calibration.parsing.answers import Answer, points
from calibration.parsing.rows import Row
from calibration.points import Point, Reading, Rejected
from calibration.readers import _ollama_answers
from calibration.readers._go_durations import nanoseconds
from calibration.readers._ollama_answers import answer_of, gathered
from calibration.readers._ollama_printed import Block, blocks

FORMAT = "ollama run --verbose"
PITFALLS = _ollama_answers.PITFALLS

SIGN = re.compile(r"\beval (?:count|duration|rate):[ \t]+\d")
TOKENS = re.compile(r"(\d{1,9}) token\(s\)")
NEEDED = ("total duration", "eval count", "eval duration")


def recognises(head: str) -> bool:
    """By a figure of the prompt or of the decoding."""
    return bool(SIGN.search(head))


def read(text: str, source: str, path: Path) -> Reading:
    """A point for each model and length of prompt."""
    found = list(blocks(text))
    kept = _lines_of_kept_prompts(found)
    rows = (Row({"model": block.model, **block.figures}, block.line) for block in found)
    answers, rejected = gathered(rows, partial(_answer, kept, alone=len(found) == 1), str(path))
    seen = [f"{len(kept)} of {len(found)} prompts had been seen before: their time is left out"] if kept else []
    return Reading(
        FORMAT,
        tuple(points(answers, Point(source, "ollama", "single", 1.0))),
        tuple(map(_as_printed, rejected)),
        {"requests": float(len(found))},
        (*PITFALLS, *seen),
    )


def _lines_of_kept_prompts(found: Iterable[Block]) -> set[int]:
    """Where a conversation went on, or a prompt was asked again: typed prompts of one length are one prompt."""
    kept, asked = set[int](), set[tuple[str, str]]()
    for block in found:
        prompt = (block.model, block.figures.get("prompt eval count", ""))
        if block.continues or (prompt[1] and prompt in asked):
            kept.add(block.line)
        asked.add(prompt)
    return kept


def _answer(kept: set[int], row: Row, alone: bool) -> Answer:
    missing = next((name for name in NEEDED if name not in row), None)
    if missing:
        raise row.refuse(missing, "is missing: the print-out was cut off")
    whole = answer_of(_as_answered(row), alone)
    if row.line not in kept:
        return whole
    if whole.decode_ms is None or whole.tokens <= 1:
        raise row.refuse("prompt eval duration", "is of a prompt that was seen before, and there is no second token")
    return replace(whole, prompt_ms=None)


def _as_answered(row: Row) -> Row:
    """The figures as the API's fields: whole tokens, and times in ns."""
    values: dict[str, object] = {"model": row.text("model")}
    for name in row.values.keys() - {"model"}:
        text = row.text(name)
        if name.endswith("duration"):
            values[_field(name)] = nanoseconds(text)
            if values[_field(name)] is None:
                raise row.refuse(name, f"'{text[:40]}' is not a duration, as 1m2.3s or 815.2ms")
        elif name.endswith("count"):
            values[_field(name)] = tokens[1] if (tokens := TOKENS.fullmatch(text)) else text
    return Row(values, row.line)


def _field(name: str) -> str:
    return name.replace(" ", "_")


def _as_printed(refusal: Rejected) -> Rejected:
    return replace(refusal, field=refusal.field.replace("_", " "))
