"""Requests as an engine timed them itself, and the points that those of one kind come to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean, median

from calibration.parsing.rows import Row, ratio
from calibration.points import Point, noted

LEAST_PROMPT = 128  # tokens: a shorter prompt's time is that of one step and of what is around it


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: its prompt's time until the first token, and the time from the first token to the last."""

    model: str
    prompt_tokens: float | None  # None where the engine does not say
    kept_tokens: float | None  # of the prompt, that were there before
    tokens: float  # the first and the ending one included
    prompt_ms: float | None
    decode_ms: float | None
    users: int = 1  # at work at the same time, this one included
    may_have_waited: bool = False  # before the times began

    @property
    def kind(self) -> tuple[str, int, int, int]:
        """What requests have in common that make one point; alone, also their lengths to a power of two."""
        if self.users > 1:
            return self.model, self.users, 0, 0
        return self.model, 1, int(self.prompt_tokens or 0).bit_length(), int(self.kept_tokens or 0).bit_length()


def answer(
    row: Row,
    *names: str,
    model: str = "",
    kept_tokens: float | None = None,
    users: int = 1,
    may_have_waited: bool = False,
) -> Answer:
    """An answer out of a row: the names of the prompt's ms and tokens, of the decoding's ms, and of all tokens."""
    prompt_ms, prompt_tokens, decode_ms, tokens = names
    counted, first, rest = row.needed(tokens), row.measured(prompt_ms), row.measured(decode_ms)
    if first is None and (rest is None or counted <= 1):
        raise row.refuse(prompt_ms, "is missing, and so is the time of a second token")
    return Answer(model, row.amount(prompt_tokens), kept_tokens, counted, first, rest, users, may_have_waited)


def points(answers: Iterable[Answer], server: Point) -> list[Point]:
    """A point for each kind of answer, and one for its prompts, on the server that the template describes."""
    kinds: dict[tuple[str, int, int, int], list[Answer]] = {}
    for one in answers:
        kinds.setdefault(one.kind, []).append(one)
    return [point for kind in sorted(kinds) for point in (_point(kinds[kind], server), *_prompts(kinds[kind], server))]


def _point(answers: list[Answer], server: Point) -> Point:
    users = answers[0].users
    waited = any(one.may_have_waited for one in answers)
    first = [] if waited else [one.prompt_ms for one in answers if one.prompt_ms is not None]
    whole = [] if waited else [one.prompt_ms + (one.decode_ms or 0.0) for one in answers if one.prompt_ms is not None]
    tokens = sum(one.tokens for one in answers)
    steps = [one.decode_ms / (one.tokens - 1) for one in answers if one.decode_ms is not None and one.tokens > 1]
    alone = users == 1 and len(whole) == len(answers)
    return replace(
        server,
        load="single" if users == 1 else "closed",
        load_value=float(users),
        model=answers[0].model or server.model,
        prompt_tokens=_mean([one.prompt_tokens for one in answers]),
        depth_tokens=_mean([one.kept_tokens for one in answers]),
        output_tokens=tokens / len(answers),
        output_tps=ratio(1e3 * tokens, sum(whole)) if alone else None,
        ttft_ms_mean=fmean(first) if first else None,
        ttft_ms_p50=median(first) if first else None,
        tpot_ms_mean=fmean(steps) if steps else None,
        e2e_ms_mean=fmean(whole) if whole else None,
        notes=noted(server.notes, f"{len(answers)} requests", "waiting is in no time" * waited),
    )


def _prompts(answers: list[Answer], server: Point) -> list[Point]:
    """The prompts by themselves, where nothing was computed beside them and nothing waited."""
    timed = [one for one in answers if one.users == 1 and not one.may_have_waited and one.prompt_ms is not None]
    tokens = _mean([one.prompt_tokens for one in timed]) or 0.0
    if tokens < LEAST_PROMPT:
        return []
    return [
        replace(
            server,
            load="prefill",
            load_value=tokens,
            model=answers[0].model or server.model,
            prompt_tokens=tokens,
            depth_tokens=_mean([one.kept_tokens for one in timed]),
            ttft_ms_mean=fmean(one.prompt_ms for one in timed if one.prompt_ms is not None),
            notes=noted(server.notes, "their prompts alone"),
        )
    ]


def _mean(values: list[float | None]) -> float | None:
    """The mean where every answer says."""
    said = [value for value in values if value is not None]
    return fmean(said) if said and len(said) == len(values) else None
