"""What passes do: steps of so many rows, prompts up to the budget of a pass, and prompts beside answers."""

from math import ceil, inf

import numpy as np

from calibration.points import Point
from calibration.terms import Work

PROMPT_BUDGET = {"vllm": 8192, "llama.cpp": 512}  # prompt tokens of one pass, by default
BUDGET_NAMES = ("n-ubatch", "ubatch", "ubatch-size", "ub", "max-num-batched-tokens")
SPAN = 256  # llama.cpp goes over cells by so many

Passes = tuple[tuple[float, Work], ...]  # how often, and what each did


class Unusable(Exception):
    """A point that says too little about the time of passes."""


def decode(rows: float, context: float) -> Work:
    """A step of so many rows, each behind so much context."""
    return Work(rows, 0.0, rows, rows * context, 0.0)


def prompts(point: Point, kernels: str, count: float, length: float, depth: float = 0.0) -> Passes:
    """The passes over so many prompts behind so much context, filled up to the budget."""
    total = count * length
    number = ceil(total / budget(point, kernels))
    cells = count * (spanned(length, depth, budget(point, kernels)) if kernels == "llama.cpp" else seen(length, depth))
    return ((number, Work(0.0, total / number, count / number, 0.0, cells / number)),)


def seen(length: float, depth: float) -> float:
    """Cells that the rows of a prompt attend to: each its own past."""
    return length * (depth + (length + 1) / 2)


def spanned(length: float, depth: float, per_pass: float) -> float:
    """Cells that the rows of a prompt go over where each goes over all that are filled by the end of its pass."""
    ends = [min(length, start + per_pass) for start in np.arange(0, length, per_pass)]
    rows = np.diff([0.0, *ends])
    return float(sum(rows * np.ceil((depth + np.array(ends)) / SPAN) * SPAN))


def need(value: float | None, name: str) -> float:
    """A figure that the load cannot do without."""
    if value is None or not value > 0:
        raise Unusable(f"{name} is not stated")
    return value


def budget(point: Point, kernels: str) -> float:
    """Prompt tokens that one pass takes."""
    for part in point.engine_options.replace(",", ";").split(";"):
        name, _, value = part.strip().lstrip("-").partition("=")
        if name.replace("_", "-") in BUDGET_NAMES:
            return _tokens(name, value)
    return PROMPT_BUDGET[kernels]


def _tokens(name: str, value: str) -> float:
    try:
        tokens = float(value)
    except ValueError:
        tokens = 0.0
    if not 1 <= tokens < inf:
        raise Unusable(f"{name} '{value}' is not a number of tokens")
    return tokens


def with_prompts(step: Work, beside: Work, count: float) -> Work:
    """A step that carries so many passes' worth of prompts too."""
    return step._replace(
        prompt=count * beside.prompt,
        outputs=step.outputs + count * beside.outputs,
        prefill_cells=count * beside.prefill_cells,
    )
