"""What a run's time went to, limit by limit: how long first tokens waited for each, and what each adds to a token."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from sim.batch import Batch, Pass
from sim.clock import PS_PER_S
from sim.engine import Door
from sim.journal import ENDS, Columns
from sim.request import End
from sim.scenario import ReplicaRecord, Result
from sim.token_gaps import decoding_strides, serving_replica
from sim.waits import Clocks, clocks, seats
from sim.window import Window

Marks = NDArray[np.bool_]

_REJECTED = ENDS.index(End.REJECTED)
TAIL_PERCENTILE = 95  # an SLO is kept or broken by the slowest requests


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds by the limit they are owed to."""

    queue: float = 0.0
    seq_slots: float = 0.0
    kv_blocks: float = 0.0
    prefill_budget: float = 0.0
    decode_rate: float = 0.0

    def plus(self, other: "Shares") -> "Shares":
        """Both together."""
        return Shares(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def times(self, factor: float) -> "Shares":
        """So much of each."""
        return Shares(*(getattr(self, field.name) * factor for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Blame:
    """Where the slowest first tokens and the average token of one run got their time from."""

    first_token: Shares = Shares()
    token: Shares = Shares()
    decodes: float = 0.0  # of the step that the average token comes from
    context: float = 0.0
    turned_away: int = 0  # requests that the front door refused


def blame(result: Result, rows: Marks, window: Window) -> Blame:
    """Of the requests that count and of the tokens inside the window."""
    log, served = result.requests, serving_replica(result)
    with_token = rows & (log["first_token_ps"] >= 0)
    turned_away = int((rows & (log["end"] == _REJECTED)).sum()) if result.scenario.deployment.door != Door() else 0
    if not with_token.any():
        return Blame(turned_away=turned_away)
    ttft = (log["first_token_ps"] - log["arrival_ps"])[with_token]
    slowest = with_token & (log["first_token_ps"] - log["arrival_ps"] >= np.percentile(ttft, TAIL_PERCENTILE))
    most, first = seats(result.scenario.deployment), Shares()
    tokens: list[Tokens] = []
    for number, record in enumerate(result.replicas):
        mine = served == number
        of_replica = {name: column[mine] for name, column in log.items()}
        if slowest[mine].any():
            first = first.plus(_first_tokens(of_replica, slowest[mine], clocks(of_replica, record, most)))
        tokens.append(_tokens(result, record, mine, window))
    shares = first.times(1 / PS_PER_S / int(slowest.sum()))
    return replace(_together(tokens), first_token=shares, turned_away=turned_away)


def _first_tokens(log: Columns, rows: Marks, waits: Clocks) -> Shares:
    """Of some requests of one replica together, in picoseconds."""
    some = {name: column[rows] for name, column in log.items()}
    arrived, entered, admitted = some["arrival_ps"], some["entered_ps"], some["admitted_ps"]
    outside, inside = float((entered - arrived).sum()), float((admitted - entered).sum())
    slots_outside = float(waits.between("slots", arrived, entered).sum())
    slots, memory, prompts = (
        float(waits.between(name, entered, admitted).sum()) for name in ("slots", "memory", "prompts")
    )
    # with a place free and no prompt in the way, only memory can hold a request that has been looked at; where there
    # is plenty of that too, places come free for all at once
    looked_at = waits.heard(entered, admitted)
    memory += float(waits.between("tight", looked_at, admitted).sum())
    slots += float(waits.between("idle", looked_at, admitted).sum())
    return Shares(
        queue=max(0.0, outside - slots_outside),
        seq_slots=slots_outside + slots,
        kv_blocks=memory + float(some["preemption_ps"].sum()),
        prefill_budget=prompts + float(some["prefill_ps"].sum()),
        decode_rate=max(0.0, inside - slots - memory - prompts) + float(some["decode_ps"].sum()),
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sums over the tokens of one replica; times in picoseconds."""

    tokens: int = 0
    own: float = 0.0  # in steps of decodes alone
    prompts: float = 0.0  # added by prompts in the same step or before it
    memory: float = 0.0  # between preemption and return
    decodes: float = 0.0  # of the step, summed over tokens
    context: float = 0.0


def _tokens(result: Result, record: ReplicaRecord, mine: Marks, window: Window) -> Tokens:
    """What the tokens of one replica had to wait for since the token before."""
    seen = decoding_strides(result, record, mine)
    inside = (seen.start >= window.start_ps) & (seen.end <= window.end_ps)
    strides = {name: column[record.strides["decodes"] > 0][inside] for name, column in record.strides.items()}
    if not inside.any():
        return Tokens()
    first, decodes = strides["first_ps"], strides["decodes"]
    mixed = strides["prompt_tokens"] > 0
    added = np.where(mixed, np.maximum(0, first - _alone(result, strides, mixed)), 0) * decodes
    waited = seen.waited[inside] * seen.lead[inside]
    took = (seen.end - seen.start)[inside].astype(np.float64) * decodes
    tokens = strides["steps"] * decodes
    gap = float(record.gaps["gap_ps"][window.holds(record.gaps["end_ps"])].sum())
    preempted = record.preemptions > 0
    return Tokens(
        tokens=int(tokens.sum()),
        own=float(took.sum() - added.sum()),
        prompts=float(added.sum() + waited.sum()) + (0.0 if preempted else gap),
        memory=gap if preempted else 0.0,
        decodes=float((tokens * decodes).sum()),
        context=float((tokens * strides["context"]).sum()),
    )


def _alone(result: Result, strides: Columns, mixed: Marks) -> NDArray[np.float64]:
    """How long each step would take without its prompts: as steps of as many decodes did, else by its price."""
    decodes = strides["decodes"].astype(np.float64)
    if mixed.all():
        rows, context = int(decodes.mean()), int(strides["context"].mean())
        return np.full(len(decodes), float(decode_step_ps(result, rows, context)))
    sizes, places = np.unique(decodes[~mixed], return_inverse=True)
    mean = np.bincount(places, strides["first_ps"][~mixed]) / np.bincount(places)
    alone: NDArray[np.float64] = np.interp(decodes, sizes, mean)
    return alone


def decode_step_ps(result: Result, decodes: int, context: int) -> int:
    """The price of a step of decodes alone."""
    one = Pass(decodes, context + decodes, 0, outputs=decodes, padded=decodes)
    return result.scenario.cost.stride(Batch(decodes, (one,), context=context)).first_ps


def _together(parts: list[Tokens]) -> Blame:
    """The average token of all replicas."""
    tokens = sum(part.tokens for part in parts)
    if not tokens:
        return Blame()
    own, prompts, memory, decodes, context = (
        sum(getattr(part, name) for part in parts) / tokens
        for name in ("own", "prompts", "memory", "decodes", "context")
    )
    shares = Shares(kv_blocks=memory, prefill_budget=prompts, decode_rate=own).times(1 / PS_PER_S)
    return Blame(token=shares, decodes=decodes, context=context)
