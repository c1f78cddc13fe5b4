"""What a run predicts of the figures that measurements state."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.latency import latencies
from sim.scenario import Result
from sim.window import emitted_tokens, measured_rows, measured_window

MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Predicted figures; None where the load has no such thing."""

    output_tps: float
    decode_tps: float | None = None  # of the answers' phase alone
    ttft_ms: float | None = None
    ttft_p50_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None


def of_result(result: Result, *, whole: bool) -> Outcome | str:
    """The figures of a run, or why there are none.

    `whole`: of all requests as one batch, whose first token and end are those of the last request.
    """
    window, times = measured_window(result), latencies(result).of(measured_rows(result))
    if not times.answered.any() or window.seconds <= 0:
        return "the simulated server answers no request"
    tpot_ms = _mean_ms(times.tpot_s)
    last_ms = _last_ms(times.ttft_s)
    return Outcome(
        output_tps=emitted_tokens(result, window) / window.seconds,
        decode_tps=len(times.answered) * MS_PER_S / tpot_ms if tpot_ms else None,
        ttft_ms=last_ms if whole else _mean_ms(times.ttft_s),
        ttft_p50_ms=last_ms if whole else _median_ms(times.ttft_s),
        tpot_ms=tpot_ms,
        e2e_ms=_last_ms(times.e2e_s) if whole else _mean_ms(times.e2e_s),
    )


def _mean_ms(seconds: NDArray[np.float64]) -> float | None:
    known = seconds[~np.isnan(seconds)]
    return float(known.mean()) * MS_PER_S if len(known) else None


def _median_ms(seconds: NDArray[np.float64]) -> float | None:
    known = seconds[~np.isnan(seconds)]
    return float(np.median(known)) * MS_PER_S if len(known) else None


def _last_ms(seconds: NDArray[np.float64]) -> float | None:
    known = seconds[~np.isnan(seconds)]
    return float(known.max()) * MS_PER_S if len(known) else None
