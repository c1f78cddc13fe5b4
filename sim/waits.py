"""What a waiting request waited for, instant by instant: a place, memory, somebody's prompt, or the step under way."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.engine import Deployment
from sim.journal import Columns
from sim.scenario import ReplicaRecord
from sim.window import stride_ends

Integers = NDArray[np.int64]
Marks = NDArray[np.bool_]

_STEPS_UNHEARD = 1  # decided before a request came, while another one ran
TIGHT_SHARE = 0.25  # of the memory free, by a look that may be a few decisions old
HEAD_PERCENTILE = 95  # who stands first in a queue that memory holds up has a long prompt


def seats(deployment: Deployment) -> int | None:
    """How many requests can be in the batch of a replica at once; None where only memory bounds them."""
    scheduler = deployment.scheduler
    named = (getattr(scheduler, name, None) for name in ("max_num_seqs", "max_batch_size"))
    return next((bound for bound in (deployment.memory.slots, *named) if bound is not None), None)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time that passed on one replica up to each instant while something was short; one shortage at a time counts."""

    times: Integers
    slots: Integers
    memory: Integers
    prompts: Integers
    tight: Integers  # memory was nearly full, and nothing else short
    idle: Integers  # neither
    step_ends: Integers

    def heard(self, since: Integers, until: Integers) -> Integers:
        """When a request that came at an instant had surely been looked at: with the end of the step that follows."""
        if not len(self.step_ends):
            return until
        steps = np.searchsorted(self.step_ends, since, "right") + _STEPS_UNHEARD
        return np.minimum(self.step_ends[np.minimum(steps, len(self.step_ends) - 1)], until)

    def between(self, name: str, since: Integers, until: Integers) -> NDArray[np.float64]:
        """How much of that time lies between two instants, for many pairs."""
        clock = getattr(self, name)
        passed: NDArray[np.float64] = np.interp(until, self.times, clock) - np.interp(since, self.times, clock)
        return passed


def clocks(log: Columns, record: ReplicaRecord, most: int | None) -> Clocks:
    """The clocks of a replica, from the requests that it served."""
    strides, ends = record.strides, stride_ends(record.strides)
    inside = log["admitted_ps"] >= 0
    came, went = log["admitted_ps"][inside], log["end_ps"][inside]
    out, back = _interruptions(log, record, ends)
    steps, samples = (strides["start_ps"], ends), record.usage["time_ps"]
    times = np.unique(np.concatenate((came, went, out, back, *steps, samples, np.zeros(1, np.int64))))
    missing = _present(out, back, times)
    full = _present(came, went, times) - missing >= (most or len(came) + 1)
    free = _free(record, times)
    long_prompt = _long_prompt(log, record)
    short = ((free < long_prompt) | (missing > 0)) & ~full
    stride = np.searchsorted(strides["start_ps"], times, "right") - 1
    under_way = (stride >= 0) & (ends[stride] > times) if len(ends) else np.zeros(len(times), np.bool_)
    prompts = under_way & (strides["prompt_tokens"][stride] > 0) if len(ends) else under_way
    tight = free < max(2 * long_prompt, TIGHT_SHARE * record.capacity_tokens)
    return Clocks(
        times,
        slots=_clock(times, full),
        memory=_clock(times, short),
        prompts=_clock(times, prompts & ~full & ~short),
        tight=_clock(times, tight & ~(full | short | prompts)),
        idle=_clock(times, ~(tight | full | short | prompts)),
        step_ends=ends,
    )


def _interruptions(log: Columns, record: ReplicaRecord, ends: Integers) -> tuple[Integers, Integers]:
    """When preempted requests lost their places, and when they had them back: with the step of their next token.

    Before its first token a request is out for a known time, which is taken for the last before that token.
    """
    if not record.preemptions:
        return ends[:0], ends[:0]
    early = (log["preemption_ps"] > 0) & (log["first_token_ps"] >= 0)
    gaps = record.gaps["gap_ps"]
    late = np.argsort(gaps, kind="stable")[-record.preemptions :]  # who only sits a step out is back sooner
    tokens = np.concatenate((log["first_token_ps"][early], record.gaps["end_ps"][late]))
    steps = np.searchsorted(ends, tokens)
    back = record.strides["start_ps"][np.minimum(steps, len(ends) - 1)]
    lost = np.concatenate((back[: early.sum()] - log["preemption_ps"][early], (record.gaps["end_ps"] - gaps)[late]))
    return np.minimum(lost, back), back


def _present(since: Integers, until: Integers, times: Integers) -> Integers:
    """How many of the intervals hold each instant; an end is no longer inside."""
    came, gone = (np.searchsorted(np.sort(edges), times, "right") for edges in (since, until))
    present: Integers = came - gone
    return present


def _long_prompt(log: Columns, record: ReplicaRecord) -> float:
    """What the head of a queue asks for; no more than half of the memory, which some are never given."""
    if not len(log["id"]):
        return 0.0
    return min(float(np.percentile(log["prompt_tokens"], HEAD_PERCENTILE)), record.capacity_tokens / 2)


def _free(record: ReplicaRecord, times: Integers) -> Integers:
    """Free cells by the last look at the memory; all of them before the first."""
    looks = record.usage["time_ps"]
    if not len(looks):
        return np.full(len(times), record.capacity_tokens, np.int64)
    look = np.searchsorted(looks, times, "right") - 1
    free: Integers = np.where(look >= 0, record.usage["free"][look], record.capacity_tokens)
    return free


def _clock(times: Integers, runs: Marks) -> Integers:
    passed = np.zeros(len(times), np.int64)
    np.cumsum(np.diff(times) * runs[:-1], out=passed[1:])
    return passed
