"""How long each request waited and for what: one number a request, NaN where the question has no answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.clock import PS_PER_S
from sim.journal import ENDS, Columns
from sim.request import End
from sim.scenario import Result
from sim.stalls import longest_gaps

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Marks = NDArray[np.bool_]

_ANSWERED = [ENDS.index(end) for end in (End.FINISHED, End.LENGTH)]


@dataclass(frozen=True, slots=True)
class Latencies:
    """One entry for each request of the log, in seconds."""

    answered: Marks  # came to the end of their answer
    ttft_s: Reals  # of requests with a first token
    tpot_s: Reals  # of answered requests of two tokens or more
    e2e_s: Reals  # of answered requests
    stall_s: Reals  # as tpot
    front_s: Reals  # of requests that came through the front door
    engine_s: Reals  # of requests that were admitted to the batch

    def of(self, rows: Marks) -> "Latencies":
        """Those of some requests."""
        return Latencies(*(getattr(self, name)[rows] for name in self.__slots__))


def latencies(result: Result) -> Latencies:
    """Of every request that has ended, in the order of the log."""
    log = result.requests
    arrival, entered, admitted = log["arrival_ps"], log["entered_ps"], log["admitted_ps"]
    first, end, tokens = log["first_token_ps"], log["end_ps"], log["output_tokens"]
    answered = answered_rows(log)
    several = answered & (tokens > 1)
    decode_s = _in_seconds(end - first, several)
    return Latencies(
        answered,
        _in_seconds(first - arrival, first >= 0),
        decode_s / np.maximum(tokens - 1, 1),
        _in_seconds(end - arrival, answered),
        _in_seconds(longest_gaps(result), several),
        _in_seconds(entered - arrival, entered >= 0),
        _in_seconds(admitted - entered, admitted >= 0),
    )


def answered_rows(log: Columns) -> Marks:
    """The requests that came to the end of their answer."""
    return np.isin(log["end"], _ANSWERED)


def ttft_parts(log: Columns) -> dict[str, Integers]:
    """What the time to the first token was spent on, in picoseconds, for the requests that have one."""
    with_token = log["first_token_ps"] >= 0
    parts = {
        "front_door": log["entered_ps"] - log["arrival_ps"],
        "queue": log["admitted_ps"] - log["entered_ps"],
        "own_prefill": log["own_prefill_ps"],
        "others_prefill": log["prefill_ps"] - log["own_prefill_ps"],
        "decode": log["decode_ps"],
        "preemption": log["preemption_ps"],
        "spill": np.zeros_like(log["decode_ps"]),
    }
    return {name: part[with_token] for name, part in parts.items()}


def _in_seconds(picoseconds: Integers, known: Marks) -> Reals:
    # differences are taken in whole picoseconds and only then converted
    return np.where(known, picoseconds / PS_PER_S, np.nan)
