"""The time between one token of a request and its next, read from strides instead of tokens."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.percentiles import Progressions
from sim.scenario import ReplicaRecord, Result
from sim.window import Window, steps_ended, stride_ends

Integers = NDArray[np.int64]
_Parts = tuple[Integers, Integers, Integers, Integers]


class Decoding(NamedTuple):
    """The strides of one replica in which requests decode, in order of time.

    Before some of them there is a lead, steps of prompts alone: decoding requests wait through it, and enter the stride
    with a long gap; others enter with a gap of their own, from a token that they got within the lead.
    """

    start: Integers
    end: Integers
    first: Integers
    growth: Integers
    steps: Integers
    decodes: Integers
    lead: Integers  # since the end of the last decoding stride
    waited: Integers  # requests that decode in the stride and waited through its lead
    entered: Integers  # for each of the others, the number of the stride
    entry_gap: Integers  # and the gap that its first step ends


def decoding_strides(result: Result, record: ReplicaRecord, mine: NDArray[np.bool_]) -> Decoding:
    """Those of a replica that emit tokens one by one; `mine` are the requests it served."""
    strides = record.strides
    some = strides["decodes"] > 0
    start, end = strides["start_ps"][some], stride_ends(strides)[some]
    first, growth, steps = (strides[name][some] for name in ("first_ps", "growth_ps", "steps"))
    decodes, lead = strides["decodes"][some], start - (end - np.diff(end, prepend=0))
    entered, since = _entries(start, lead, decodes, _fresh_tokens(result, record, mine))
    waited = decodes - np.bincount(entered, minlength=len(start))
    entry_gap = start[entered] + first[entered] - since
    return Decoding(start, end, first, growth, steps, decodes, lead, waited, entered, entry_gap)


def token_gaps(result: Result, window: Window) -> Progressions:
    """Every gap that ends inside the window, in picoseconds, each counted once."""
    served = serving_replica(result)
    parts: list[_Parts] = []
    for number, record in enumerate(result.replicas):
        parts += _replica_gaps(record, decoding_strides(result, record, served == number), window)
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


def _replica_gaps(record: ReplicaRecord, strides: Decoding, window: Window) -> list[_Parts]:
    """Steps in lockstep as progressions; the first step after a lead and resumed requests gap by gap."""
    some = record.strides["decodes"] > 0
    skip = steps_ended(record.strides, window.start_ps)[some]
    until = steps_ended(record.strides, window.end_ps)[some]
    alone = ((strides.lead > 0) & (skip == 0) & (until > 0)).astype(np.int64)
    first_left = strides.first + strides.growth * (skip + alone)
    resumed = record.gaps["gap_ps"][window.holds(record.gaps["end_ps"])]
    return [
        (first_left, strides.growth, until - skip - alone, strides.decodes),
        (strides.lead + strides.first, np.zeros_like(alone), alone, strides.waited),
        _each_once(strides.entry_gap[alone[strides.entered] > 0]),
        _each_once(resumed),
    ]


def _fresh_tokens(result: Result, record: ReplicaRecord, mine: NDArray[np.bool_]) -> Integers:
    """When requests of a replica got a token other than by decoding in lockstep, and went on."""
    requests = result.requests
    first_ps = requests["first_token_ps"]
    goes_on = mine & (first_ps >= 0) & (requests["end_ps"] > first_ps)
    return np.concatenate((first_ps[goes_on], record.gaps["end_ps"]))


def _entries(start: Integers, lead: Integers, decodes: Integers, fresh_ps: Integers) -> tuple[Integers, Integers]:
    """Who enters a stride with a lead after a token of its own: the stride's number and when that token came."""
    place = np.searchsorted(start, fresh_ps, "left")
    inside = place < len(start)
    place, fresh_ps = place[inside], fresh_ps[inside]
    order = np.argsort(place, kind="stable")
    place, fresh_ps = place[order], fresh_ps[order]
    rank = np.arange(len(place)) - np.searchsorted(place, place, "left")
    # no more than decode there: a resumed request may have ended with its token
    enters = (lead[place] > 0) & (rank < decodes[place])
    return place[enters], fresh_ps[enters]


def _each_once(gaps: Integers) -> _Parts:
    ones = np.ones_like(gaps)
    return gaps, 0 * ones, ones, ones
