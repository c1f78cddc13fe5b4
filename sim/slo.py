"""What counts as served well: predicates on a single request."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.latency import Latencies


@dataclass(frozen=True, slots=True)
class Slo:
    """Upper bounds that a request must keep, all of them; None asks nothing. Every request must also be answered."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    stall_s: float | None = None


SLO_PRESETS = {
    "chat": Slo(ttft_s=1.0, tpot_s=0.050),
    "interactive": Slo(ttft_s=0.450, tpot_s=0.040),
    "server": Slo(ttft_s=2.0, tpot_s=0.200),
    "rag": Slo(ttft_s=3.0, tpot_s=0.100),
    "code": Slo(ttft_s=0.500, tpot_s=0.030),
    "agent": Slo(e2e_s=30.0),
}


def breaches(slo: Slo, measured: Latencies) -> dict[str, NDArray[np.bool_]]:
    """Which requests break which predicate.

    No first token is a broken TTFT and no last token a broken E2E; an answer of one token has no TPOT to break.
    """
    ttft_s, tpot_s, e2e_s, stall_s = (
        np.inf if bound is None else bound for bound in (slo.ttft_s, slo.tpot_s, slo.e2e_s, slo.stall_s)
    )
    return {
        "ttft": ~(measured.ttft_s <= ttft_s) & (slo.ttft_s is not None),
        "tpot": measured.tpot_s > tpot_s,
        "e2e": ~(measured.e2e_s <= e2e_s) & (slo.e2e_s is not None),
        "stall": measured.stall_s > stall_s,
        "finished": ~measured.answered,
    }


def meets(slo: Slo, measured: Latencies) -> NDArray[np.bool_]:
    """Which requests keep every predicate."""
    kept: NDArray[np.bool_] = ~np.logical_or.reduce(list(breaches(slo, measured).values()))
    return kept
