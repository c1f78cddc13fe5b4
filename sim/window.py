"""The part of a run that is measured: after the load has built up and before it dies down."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sim.clock import seconds
from sim.cost import Stride
from sim.journal import Columns
from sim.scenario import Result


@dataclass(frozen=True, slots=True)
class Window:
    """The instants after `start_ps` up to and including `end_ps`."""

    start_ps: int
    end_ps: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return seconds(self.end_ps - self.start_ps)

    def holds(self, times_ps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the instants lie inside."""
        return (times_ps > self.start_ps) & (times_ps <= self.end_ps)


def measured_rows(result: Result) -> NDArray[np.bool_]:
    """The requests that count: neither the first `warmup` nor the last `cooldown` by number."""
    load = result.scenario.workload
    numbers = result.requests["id"]
    return (numbers >= load.warmup) & (numbers < load.requests - load.cooldown)


def measured_window(result: Result) -> Window:
    """From the arrival of the first request that counts to that of the first cool-down one, or to the last end."""
    load, requests = result.scenario.workload, result.requests
    arrivals, numbers = requests["arrival_ps"], requests["id"]
    counted = arrivals[numbers >= load.warmup]
    if not len(counted):
        return Window(0, 0)
    after = arrivals[numbers >= load.requests - load.cooldown]
    end_ps = after.min() if len(after) else requests["end_ps"].max()
    return Window(int(counted.min()), int(end_ps))


def emitted_tokens(result: Result, window: Window) -> int:
    """Output tokens that came out inside the window, whichever request they belong to."""
    first_ps = result.requests["first_token_ps"]
    tokens = int(np.count_nonzero(window.holds(first_ps) & (first_ps >= 0)))
    for record in result.replicas:
        strides = record.strides
        steps = steps_ended(strides, window.end_ps) - steps_ended(strides, window.start_ps)
        tokens += int((strides["decodes"] * steps).sum())
        tokens += int(np.count_nonzero(window.holds(record.gaps["end_ps"])))
    return tokens


def stride_ends(strides: Columns) -> NDArray[np.int64]:
    """The instant at which each stride ends."""
    # the closed form of a stride, for all of them at once
    every = Stride(cast(Any, strides["first_ps"]), cast(Any, strides["growth_ps"]))
    return strides["start_ps"] + cast(NDArray[np.int64], every.total(cast(Any, strides["steps"])))


def steps_ended(strides: Columns, time_ps: int) -> NDArray[np.int64]:
    """How many steps of each stride have ended by the instant."""
    ends = stride_ends(strides)
    ended = np.where(ends <= time_ps, strides["steps"], 0)
    for under_way in np.flatnonzero((strides["start_ps"] < time_ps) & (ends > time_ps)).tolist():
        stride = Stride(int(strides["first_ps"][under_way]), int(strides["growth_ps"][under_way]))
        elapsed = time_ps - int(strides["start_ps"][under_way])
        steps = stride.steps_covering(elapsed)
        ended[under_way] = steps if stride.total(steps) == elapsed else steps - 1
    return ended
