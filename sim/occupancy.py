"""How many requests are in a place over time, and how full the memory is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cache import Usage
from sim.clock import PS_PER_S
from sim.journal import Columns
from sim.scenario import ReplicaRecord
from sim.window import Window

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Level:
    """A quantity over time."""

    mean: float
    max: float


@dataclass(frozen=True, slots=True)
class KvShares:
    """Shares of the KV cache's capacity, as the PagedAttention paper names them."""

    used: Level
    reserved: float
    internal: float
    external: float


def running(log: Columns, window: Window) -> Level:
    """Requests between admission and end, those preempted meanwhile included."""
    admitted = log["admitted_ps"] >= 0
    return presence(log["admitted_ps"][admitted], log["end_ps"][admitted], window)


def waiting(log: Columns, window: Window) -> Level:
    """Requests between arrival and admission, before the front door or behind it."""
    until = np.where(log["admitted_ps"] >= 0, log["admitted_ps"], log["end_ps"])
    return presence(log["arrival_ps"], until, window)


def presence(since_ps: Integers, until_ps: Integers, window: Window) -> Level:
    """How many of the intervals cover an instant: the mean weighted by time, and the most at once."""
    if window.end_ps <= window.start_ps or not len(since_ps):
        return Level(0.0, 0.0)
    since = since_ps.clip(window.start_ps, window.end_ps)
    until = until_ps.clip(window.start_ps, window.end_ps)
    # seconds, because a sum of picoseconds overflows
    mean = float(((until - since) / PS_PER_S).sum()) / window.seconds
    lasting = until > since
    times = np.concatenate((since[lasting], until[lasting]))
    change = np.repeat([1, -1], int(lasting.sum()))
    # at one instant those who leave go before those who come
    present = change[np.lexsort((change, times))].cumsum()
    return Level(mean, float(present.max(initial=0)))


def kv_shares(replicas: Sequence[ReplicaRecord], window: Window) -> KvShares | None:
    """Means over the samples taken inside the window, all replicas together; None without samples."""
    shares: dict[str, list[NDArray[np.float64]]] = {name: [] for name in Usage._fields}
    for record in replicas:
        inside = window.holds(record.usage["time_ps"])
        for name, seen in shares.items():
            seen.append(record.usage[name][inside] / record.capacity_tokens)
    used, reserved, internal, external = (
        np.concatenate(shares[name]) for name in ("used", "reserved", "internal", "external")
    )
    if not len(used):
        return None
    level = Level(float(used.mean()), float(used.max()))
    return KvShares(level, float(reserved.mean()), float(internal.mean()), float(external.mean()))
