"""A simctl recording: a JSON line a request of a closed loop, with the time of every token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np

from calibration.parsing.jsonrows import json_rows
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.recorded_run import RecordedRun, beside
from calibration.parsing.rows import BadField, Row
from calibration.points import Point, Reading, Rejected, noted

FORMAT = "simctl recording"
PITFALLS = (
    Pitfall("times are the client's: connecting, streaming and its own work are inside"),
    Pitfall("a level begins with all users at once and ends with fewer and fewer of them", under("closed")),
)
LONGEST_REASON = 200  # characters


@dataclass(frozen=True, slots=True)
class Request:
    """One request that succeeded, in seconds since its level began."""

    users: int
    prompt_tokens: float
    sent_s: float
    done_s: float
    tokens_s: tuple[float, ...]


def recognises(head: str) -> bool:
    """By the fields that every line has."""
    return '"t_send"' in head and '"t_tokens"' in head and '"prompt_len"' in head


def read(text: str, source: str, path: Path) -> Reading:
    """A point a level of users; requests that failed are refused one by one and count in the level's success rate."""
    rows, rejected = json_rows(text, str(path))
    levels: dict[int, list[Request]] = {}
    failed: dict[int, int] = {}
    for row in rows:
        try:
            users = int(row.needed("users"))
            failed.setdefault(users, 0)
            failed[users] += "error" in row
            levels.setdefault(users, []).append(_request(row, users))
        except BadField as bad:
            rejected.append(Rejected(str(path), row.line, bad.field, bad.reason))
    run = beside(path)
    run = replace(run, engine=run.engine or _engine(text))
    points = [_level(source, run, done, failed[users]) for users, done in sorted(levels.items()) if done]
    requests = sum(len(done) for done in levels.values())
    return Reading(FORMAT, tuple(points), tuple(rejected), {"requests": float(requests)}, warnings(PITFALLS, points))


def _request(row: Row, users: int) -> Request:
    if "error" in row:
        raise row.refuse("error", row.inside("error").text("message") or row.text("error")[:LONGEST_REASON])
    row.whole("users")
    request = Request(users, row.needed("prompt_len"), _time(row, "t_send"), _time(row, "t_done"), tuple(_tokens(row)))
    times = (request.sent_s, *request.tokens_s, request.done_s)
    if any(later < earlier for earlier, later in pairwise(times)):
        raise row.refuse("t_tokens", "the times do not follow one another from t_send to t_done")
    return request


def _engine(text: str) -> str:
    """Which server answered, by what only one of them adds to its answers."""
    return "llama.cpp" if '"timings"' in text else "vllm" if '"usage"' in text else ""


def _time(row: Row, name: str) -> float:
    value = row.amount(name)
    if value is None:
        raise row.refuse(name, "is missing")
    return value


def _tokens(row: Row) -> Iterator[float]:
    listed = row.values.get("t_tokens")
    if not isinstance(listed, list) or not listed:
        raise row.refuse("t_tokens", "holds no times")
    numbers = Row({f"t_tokens[{index}]": value for index, value in enumerate(listed)}, row.line)
    for name in numbers.values:
        yield _time(numbers, name)


def _level(source: str, run: RecordedRun, done: Sequence[Request], failed: int) -> Point:
    """What the requests of one number of users come to."""
    users = done[0].users
    ttft = [request.tokens_s[0] - request.sent_s for request in done]
    spans = [(request.tokens_s[-1] - request.tokens_s[0], len(request.tokens_s) - 1) for request in done]
    tpot = [span / gaps for span, gaps in spans if gaps]
    itl = np.concatenate([np.diff(request.tokens_s) for request in done])
    e2e = [request.done_s - request.sent_s for request in done]
    tokens = sum(len(request.tokens_s) for request in done)
    attempted = len(done) + failed
    wall = max(request.done_s for request in done) - min(request.sent_s for request in done)
    return Point(
        source_id=source,
        engine=run.engine,
        engine_version=run.version,
        engine_options=run.options,
        gpu=run.gpu or "unstated",
        model=run.model or "unstated",
        load="single" if users == 1 else "closed" if attempted > users else "burst",
        load_value=float(min(attempted, users)),
        slots=run.slots,
        context=run.context,
        kv_tokens=run.kv_tokens,
        prompt_tokens=fmean(request.prompt_tokens for request in done),
        output_tokens=tokens / len(done),
        output_tps=tokens / wall if wall else None,
        ttft_ms_mean=_ms(fmean(ttft)),
        ttft_ms_p50=_percentile_ms(ttft, 50),
        ttft_ms_p99=_percentile_ms(ttft, 99),
        itl_ms_mean=_ms(float(itl.mean())) if itl.size else None,
        itl_ms_p99=_percentile_ms(itl.tolist(), 99),
        tpot_ms_mean=_ms(fmean(tpot)) if tpot else None,
        e2e_ms_mean=_ms(fmean(e2e)),
        e2e_ms_p99=_percentile_ms(e2e, 99),
        success_rate=len(done) / attempted,
        notes=noted(f"{len(done)} requests", run.machine),
    )


def _ms(seconds: float) -> float | None:
    return 1e3 * seconds or None


def _percentile_ms(seconds: Sequence[float], percent: int) -> float | None:
    return _ms(float(np.percentile(seconds, percent))) if len(seconds) else None
