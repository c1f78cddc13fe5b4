"""A stretch of one run near each variant's cliff, request by request."""

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from reports.closeup import Bar, BarKind, CloseUp, Life, Moment
from sim.cli.study import Study
from sim.clock import PS_PER_S
from sim.journal import Columns
from sim.scenario import Result
from sim.simulate import simulate
from sim.window import measured_rows

MOST_LIVES = 120
MOST_BARS = 400
MOST_MOMENTS = 200
DIGITS = 4


def close_up(study: Study, variant: str, users: int) -> CloseUp:
    """The first requests that count of the first seed, on the first replica."""
    result = simulate(study.scenario(variant, users, study.flags.seed))
    record = result.replicas[0]
    rows = np.flatnonzero(measured_rows(result) & (result.requests["replica"] == 0))
    rows = rows[np.argsort(result.requests["arrival_ps"][rows], kind="stable")][:MOST_LIVES]
    log = {name: column[rows] for name, column in result.requests.items()}
    return CloseUp(
        variant=variant,
        users=users,
        seed=study.flags.seed,
        capacity_tokens=record.capacity_tokens,
        gantt=tuple(_bars(log)[:MOST_BARS]),
        occupancy=tuple(_moments(result, log)),
        waterfall=tuple(_life(log, row) for row in range(len(rows))),
    )


def _seconds(time_ps: int) -> float:
    return round(int(time_ps) / PS_PER_S, DIGITS)


def _life(log: Columns, row: int) -> Life:
    admitted, first = (int(log[name][row]) for name in ("admitted_ps", "first_token_ps"))
    return Life(
        request=int(log["id"][row]),
        arrival_s=_seconds(log["arrival_ps"][row]),
        queue_end_s=_seconds(admitted) if admitted >= 0 else None,
        prompt_end_s=_seconds(first) if first >= 0 else None,
        end_s=_seconds(log["end_ps"][row]),
    )


def _bars(log: Columns) -> list[Bar]:
    """Each request's wait, prompt and answer; those inside at once lie in different rows, the lowest that is free."""
    slots, bars = _rows_of(log), []
    for row in range(len(log["id"])):
        arrival, admitted, first, end = (
            int(log[name][row]) for name in ("arrival_ps", "admitted_ps", "first_token_ps", "end_ps")
        )
        inside = admitted if admitted >= 0 else end
        token = first if first >= 0 else end
        parts: list[tuple[BarKind, int, int]] = [
            ("queue", arrival, inside),
            ("prompt", inside, token),
            ("decode", token, end),
        ]
        bars += [
            Bar(None if kind == "queue" else slots[row], int(log["id"][row]), _seconds(since), _seconds(until), kind)
            for kind, since, until in parts
            if until > since
        ]
    return bars


def _rows_of(log: Columns) -> dict[int, int]:
    """A row for every request that was admitted."""
    free: list[int] = []
    busy: list[tuple[int, int]] = []  # until when, and which
    rows: dict[int, int] = {}
    admitted = [row for row in np.argsort(log["admitted_ps"], kind="stable").tolist() if log["admitted_ps"][row] >= 0]
    for row in admitted:
        while busy and busy[0][0] <= log["admitted_ps"][row]:
            heappush(free, heappop(busy)[1])
        rows[row] = heappop(free) if free else len(busy)
        heappush(busy, (int(log["end_ps"][row]), rows[row]))
    return rows


def _moments(result: Result, log: Columns) -> list[Moment]:
    """The whole server at equal distances through the stretch."""
    if not len(log["id"]):
        return []
    times = np.linspace(int(log["arrival_ps"].min()), int(log["end_ps"].max()), MOST_MOMENTS).astype(np.int64)
    usage, every = result.replicas[0].usage, result.requests
    here = {name: column[every["replica"] == 0] for name, column in every.items()}
    inside = here["admitted_ps"] >= 0
    until = np.where(inside, here["admitted_ps"], here["end_ps"])
    running = _present(here["admitted_ps"][inside], here["end_ps"][inside], times)
    waiting = _present(here["arrival_ps"], until, times)
    look = np.searchsorted(usage["time_ps"], times, "right") - 1
    used = np.where(look >= 0, usage["used"][look], 0) if len(usage["used"]) else np.zeros(len(times), np.int64)
    return [
        Moment(_seconds(time), int(tokens), int(those), int(others))
        for time, tokens, those, others in zip(times.tolist(), used, running, waiting, strict=True)
    ]


def _present(since: NDArray[np.int64], until: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many intervals hold each instant."""
    came: NDArray[np.int64] = np.searchsorted(np.sort(since), times, "right")
    return came - np.searchsorted(np.sort(until), times, "right")
