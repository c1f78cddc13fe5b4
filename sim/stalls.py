"""The longest pause a reader sees: the largest gap between two consecutive tokens of one request."""

import numpy as np
from numpy.typing import NDArray

from sim.scenario import Result
from sim.token_gaps import Decoding, decoding_strides, serving_replica

Integers = NDArray[np.int64]


def longest_gaps(result: Result) -> Integers:
    """The longest gap between two tokens of each request, in picoseconds; 0 for those with fewer than two."""
    requests, served = result.requests, serving_replica(result)
    longest = requests.get("stall_ps", np.zeros_like(requests["id"])).copy()
    several = (requests["first_token_ps"] >= 0) & (requests["end_ps"] > requests["first_token_ps"])
    for number, record in enumerate(result.replicas):
        strides = decoding_strides(result, record, served == number)
        rows = np.flatnonzero(several & (served == number))
        first_ps, end_ps = requests["first_token_ps"][rows], requests["end_ps"][rows]
        longest[rows] = np.maximum(longest[rows], _longest_between(strides, first_ps, end_ps))
    return longest


def _longest_between(strides: Decoding, first_ps: Integers, end_ps: Integers) -> Integers:
    """The longest gap of requests that decode from one instant to another."""
    last = strides.first + strides.growth * (strides.steps - 1)
    begin = np.searchsorted(strides.start, first_ps, "left")
    stop = np.searchsorted(strides.end, end_ps, "right")
    onward = strides.first + np.where(strides.waited > 0, strides.lead, 0)
    longest = range_maximum(np.maximum(onward, last), begin + 1, stop)
    some = np.flatnonzero(begin < stop)
    own = begin[some]
    # the first gap of a request begins with its own first token
    entry = strides.start[own] + strides.first[own] - first_ps[some]
    longest[some] = np.maximum(longest[some], np.maximum(entry, last[own]))
    return longest


def range_maximum(values: Integers, begin: Integers, stop: Integers) -> Integers:
    """The largest of values[begin:stop] for many pairs at once; 0 where there is none.

    Two overlapping runs of a power of two cover any range; runs double level by level, one level in memory at a time.
    """
    found = np.zeros(len(begin), np.int64)
    level_of = np.frexp((stop - begin).clip(0).astype(np.float64))[1] - 1
    table, width = values, 1
    for level in range(int(level_of.max(initial=-1)) + 1):
        asked = np.flatnonzero(level_of == level)
        found[asked] = np.maximum(table[begin[asked]], table[stop[asked] - width])
        table = np.maximum(table[:-width], table[width:])
        width *= 2
    return found
