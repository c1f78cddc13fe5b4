"""Ollama's own timings of a request, whether its API answered with them or its command line printed them."""

from collections.abc import Callable, Iterable

from calibration.parsing.answers import Answer, answer
from calibration.parsing.rows import BadField, Row
from calibration.points import Rejected

PITFALLS = (
    "each answer is taken as one that ran alone, for it does not say what ran beside it",
    "no field holds the wait for a free slot: it is what total_duration has beyond the others, tokenising included",
    "eval_duration spans one token fewer than eval_count, which counts the ending token too; it is divided by n-1 here",
    "prompt_eval_count is the whole prompt in 0.4 to 0.24 and from 0.30.1 on, so that a prompt seen before looks fast",
    "in 0.3 and in 0.30.0 prompt_eval_count is what was evaluated, and it is absent when all had been kept",
    "where Ollama's own runner computes, 0.6 to 0.24, eval_duration leaves out the sampling on the processor",
    "an answer for which the model was loaded is left out where there are others: its prompt warms the runner up",
)

NS = 1e6  # in a millisecond
LOADED_S = 1.0  # a model that is there already is found in some 0.1 s
WAITED_SHARE, WAITED_S = 0.2, 0.2


def gathered(rows: Iterable[Row], timed: Callable[[Row], Answer], file: str) -> tuple[list[Answer], list[Rejected]]:
    """Every row as an answer, or as the reason why it is none."""
    answers, rejected = list[Answer](), list[Rejected]()
    for row in rows:
        try:
            answers.append(timed(row))
        except BadField as bad:
            rejected.append(Rejected(file, row.line, bad.field, bad.reason))
    return answers, rejected


def answer_of(row: Row, alone: bool) -> Answer:
    """An answer out of the API's fields, durations in ns; the file's only one counts even if the model was loaded."""
    load_s = (row.amount("load_duration") or 0.0) / NS / 1e3
    if load_s > LOADED_S and not alone:
        raise row.refuse("load_duration", f"the model was loaded for this answer, in {load_s:.2f} s")
    times = {name: (row.amount(name) or 0.0) / NS for name in ("prompt_eval_duration", "eval_duration")}
    in_ms = Row({**row.values, **times}, row.line)
    return answer(
        in_ms,
        *("prompt_eval_duration", "prompt_eval_count", "eval_duration", "eval_count"),
        model=row.text("model"),
        may_have_waited=_waited(row, load_s, sum(times.values()) / 1e3),
    )


def _waited(row: Row, load_s: float, counted_s: float) -> bool:
    """Whether much more time went by than the fields account for."""
    total_s = (row.amount("total_duration") or 0.0) / NS / 1e3
    hidden_s = total_s - load_s - counted_s
    return hidden_s > max(WAITED_S, WAITED_SHARE * total_s)
