"""Ollama's answers to /api/generate and /api/chat: the durations, in ns, of the object that closes each of them."""

from functools import partial
from pathlib import Path

from calibration.parsing.answers import points
from calibration.parsing.jsonrows import json_rows
from calibration.points import Point, Reading
from calibration.readers import _ollama_answers
from calibration.readers._ollama_answers import answer_of, gathered

FORMAT = "Ollama API"
PITFALLS = _ollama_answers.PITFALLS


def recognises(head: str) -> bool:
    """By the names of two durations."""
    return '"eval_duration"' in head and '"total_duration"' in head


def read(text: str, source: str, path: Path) -> Reading:
    """A point for each model and length of prompt."""
    rows, broken = json_rows(text, str(path))
    final = [row for row in rows if row.values.get("done") is not False]
    answers, rejected = gathered(final, partial(answer_of, alone=len(final) == 1), str(path))
    found = points(answers, Point(source, "ollama", "single", 1.0))
    return Reading(FORMAT, tuple(found), (*broken, *rejected), {"requests": float(len(final))}, PITFALLS)
