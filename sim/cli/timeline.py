"""A run as it went: who waited, who ran and how full the memory was, interval by interval."""

from itertools import pairwise

from reports.tables import Table, number
from sim.occupancy import kv_shares, running, waiting
from sim.scenario import Result
from sim.window import Window, emitted_tokens

INTERVALS = 16
HEADER = ("until s", "waiting", "running", "KV", "tok/s", "running, to scale")
BAR_CELLS = 40


def timeline(result: Result, title: str) -> Table:
    """Means over equal intervals, the warm-up and the end of the run included."""
    edges = [result.end_ps * step // INTERVALS for step in range(INTERVALS + 1)]
    windows = [Window(start, end) for start, end in pairwise(edges) if end > start]
    most = max((running(result.requests, window).max for window in windows), default=0.0)
    return Table(title, HEADER, tuple(_row(result, window, most) for window in windows))


def _row(result: Result, window: Window, most: float) -> tuple[str, ...]:
    present, shares = running(result.requests, window).mean, kv_shares(result.replicas, window)
    return (
        f"{window.end_ps / 1e12:.1f}",
        number(waiting(result.requests, window).mean, 1),
        number(present, 1),
        "-" if shares is None else f"{100 * shares.used.mean:.1f}%",
        number(emitted_tokens(result, window) / window.seconds),
        "▇" * round(BAR_CELLS * present / most) if most else "",
    )
