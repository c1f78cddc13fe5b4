"""The time between one token of a request and its next, read from strides instead of tokens."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.journal import Columns
from sim.percentiles import Progressions
from sim.scenario import ReplicaRecord, Result
from sim.window import Window, steps_ended, stride_ends

Integers = NDArray[np.int64]
_Parts = tuple[Integers, Integers, Integers, Integers]


class Decoding(NamedTuple):
    """The strides of one replica in which requests decode, in order of time."""

    start: Integers
    end: Integers
    first: Integers
    growth: Integers
    steps: Integers
    decodes: Integers
    lead: Integers  # since the last decoding stride: steps of prompts alone, for which decoding requests wait


def decoding_strides(strides: Columns) -> Decoding:
    """Those that emit tokens one by one."""
    some = strides["decodes"] > 0
    start, end = strides["start_ps"][some], stride_ends(strides)[some]
    lead = start - (end - np.diff(end, prepend=0))
    first, growth, steps = (strides[name][some] for name in ("first_ps", "growth_ps", "steps"))
    return Decoding(start, end, first, growth, steps, strides["decodes"][some], lead)


def token_gaps(result: Result, window: Window) -> Progressions:
    """Every gap that ends inside the window, in picoseconds, each counted once."""
    served = serving_replica(result)
    parts: list[_Parts] = []
    for number, record in enumerate(result.replicas):
        parts += _replica_gaps(record, _fresh_tokens(result, record, served == number), window)
    return Progressions.joined(parts)


def serving_replica(result: Result) -> Integers:
    """The replica that each request's tokens came from."""
    requests = result.requests
    if "replica" in requests or len(result.replicas) == 1:
        return requests.get("replica", np.zeros_like(requests["id"]))
    served = np.full_like(requests["id"], -1)
    for number, record in enumerate(result.replicas):
        # a first token comes out at the end of a step with prompts in it
        prompts = stride_ends(record.strides)[record.strides["prompt_tokens"] > 0]
        served[(served < 0) & np.isin(requests["first_token_ps"], prompts)] = number
    return served


def _replica_gaps(record: ReplicaRecord, fresh_ps: Integers, window: Window) -> list[_Parts]:
    """Steps in lockstep as progressions; the first step after a lead and resumed requests gap by gap."""
    strides = decoding_strides(record.strides)
    some = record.strides["decodes"] > 0
    skip = steps_ended(record.strides, window.start_ps)[some]
    until = steps_ended(record.strides, window.end_ps)[some]
    alone = ((strides.lead > 0) & (skip == 0) & (until > 0)).astype(np.int64)
    ones = np.ones_like(skip)
    steady = (strides.first + strides.growth * (skip + alone), strides.growth, until - skip - alone, strides.decodes)
    place, entries = _entries(strides, fresh_ps)
    own = alone[place] > 0
    waited = strides.decodes - np.bincount(place, minlength=len(ones))
    resumed = record.gaps["gap_ps"][window.holds(record.gaps["end_ps"])]
    return [
        steady,
        (strides.lead + strides.first, 0 * ones, alone, waited),
        _each_once(entries[own]),
        _each_once(resumed),
    ]


def _fresh_tokens(result: Result, record: ReplicaRecord, mine: NDArray[np.bool_]) -> Integers:
    """When requests of a replica got a token other than by decoding in lockstep, and went on."""
    requests = result.requests
    first_ps = requests["first_token_ps"]
    goes_on = mine & (first_ps >= 0) & (requests["end_ps"] > first_ps)
    return np.concatenate((first_ps[goes_on], record.gaps["end_ps"]))


def _entries(strides: Decoding, fresh_ps: Integers) -> tuple[Integers, Integers]:
    """The gaps with which requests enter a stride that has a lead: the stride's number and the gap."""
    place = np.searchsorted(strides.start, fresh_ps, "left")
    inside = place < len(strides.start)
    place, fresh_ps = place[inside], fresh_ps[inside]
    order = np.argsort(place, kind="stable")
    place, fresh_ps = place[order], fresh_ps[order]
    rank = np.arange(len(place)) - np.searchsorted(place, place, "left")
    # no more than decode there: a resumed request may have ended with its token
    enters = (strides.lead[place] > 0) & (rank < strides.decodes[place])
    place, fresh_ps = place[enters], fresh_ps[enters]
    return place, strides.start[place] + strides.first[place] - fresh_ps


def _each_once(gaps: Integers) -> _Parts:
    ones = np.ones_like(gaps)
    return gaps, 0 * ones, ones, ones
