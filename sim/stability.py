"""Whether an open-loop server keeps up: requests that pile up do so for ever."""

import numpy as np
from numpy.typing import NDArray

from sim.journal import Columns
from sim.judging import BATCHES, interval
from sim.window import Window

STABLE_SHARE = 0.9  # a server that answers less of what arrives is falling behind, whatever the queue does
LEAST_DRIFT = 0.02  # of the arrivals


def pile_up(log: Columns, window: Window) -> tuple[float, ...]:
    """Requests that came and did not go in equal parts of the window, as shares of those that came in the whole."""
    edges = np.linspace(window.start_ps, window.end_ps, BATCHES + 1)
    came, went = (_counts(log[name], edges) for name in ("arrival_ps", "end_ps"))
    arrivals = int(came.sum())
    if not arrivals:
        return ()
    return tuple(float(more) * BATCHES / arrivals for more in came - went)


def _counts(times: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.diff(np.searchsorted(np.sort(times), edges, "right"))


def falls_behind(pile_up: tuple[float, ...], answered: float, rate: float) -> bool:
    """Whether requests pile up, significantly and by more than a few in a hundred; both rates are a second's."""
    if answered < STABLE_SHARE * rate:
        return True
    return bool(pile_up) and interval(pile_up).low > 0 and sum(pile_up) / len(pile_up) >= LEAST_DRIFT
