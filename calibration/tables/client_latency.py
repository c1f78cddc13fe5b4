"""What lies between an engine's steps and what its client sees, out of request rows: latency, never step times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from calibration.tables.iteration_table import Iteration
from calibration.tables.steptable import StepTable
from sim.errors import BadScenario

BURST_GAP_S = 0.004  # requests sent within this of each other reach the front end as one burst

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClientLatency:
    """The three latencies of a step table, in ms."""

    client_latency_ms: float
    request_overhead_ms: float
    step_overhead_ms: float

    def on(self, table: StepTable) -> StepTable:
        """The same steps seen by a client with this latency."""
        return replace(
            table,
            client_latency_ms=self.client_latency_ms,
            request_overhead_ms=self.request_overhead_ms,
            step_overhead_ms=self.step_overhead_ms,
        )


def from_prompt_timings(rows: Sequence[Row]) -> ClientLatency:
    """llama-server: TTFT less the prompt time it reports, one user; many HTTP threads, so nothing is serial."""
    alone = _single_user(rows)
    extra = [1e3 * (row["t_first"] - row["t_send"]) - row["timings"]["prompt_ms"] for row in alone]
    return ClientLatency(max(0.0, median(extra)), 0.0, 0.0)


def from_logged_steps(rows: Sequence[Row], steps: Sequence[Iteration], warm_up_requests: int) -> ClientLatency:
    """vLLM: what one user waits beyond the logged steps, and how much longer each request of a burst waits."""
    first_token, between_steps = [], []
    for row, (prefill, *decodes) in zip(_single_user(rows), _steps_by_request(steps)[warm_up_requests:], strict=False):
        if prefill.ctx_tokens != row["prompt_len"]:
            raise BadScenario(f"steps and requests are out of line: {prefill} is not {row['prompt_len']} tokens")
        mine = decodes[: row["n_out"] - 1]
        first_token.append(1e3 * (row["t_first"] - row["t_send"]) - prefill.elapsed_ms)
        emitted = 1e3 * (row["t_tokens"][-1] - row["t_first"])
        between_steps.append((emitted - sum(step.elapsed_ms for step in mine)) / len(mine))
    overhead = serial_request_ms(rows)
    return ClientLatency(max(0.0, median(first_token) - overhead), overhead, max(0.0, fmean(between_steps)))


def serial_request_ms(rows: Sequence[Row]) -> float:
    """How much later a burst's last answer begins for every request more in it (slope of least squares)."""
    bursts = _bursts(rows)
    sizes = [float(len(burst)) for burst in bursts]
    waits: list[float] = [1e3 * (max(row["t_headers"] for row in burst) - burst[0]["t_send"]) for burst in bursts]
    size, wait = fmean(sizes), fmean(waits)
    spread = sum((s - size) ** 2 for s in sizes)
    if not spread:
        raise BadScenario("request rows: bursts of different sizes are needed to see what is serial")
    together = sum((s - size) * (w - wait) for s, w in zip(sizes, waits, strict=True))
    return together / spread


def _single_user(rows: Sequence[Row]) -> list[Row]:
    alone = sorted((row for row in rows if row["users"] == 1 and not row.get("error")), key=lambda row: row["t_send"])
    if not alone:
        raise BadScenario("request rows: a level of one user is needed to see the client's latency")
    return alone


def _steps_by_request(steps: Sequence[Iteration]) -> list[list[Iteration]]:
    """The steps cut before each one that carries a prompt: one request each, while there is one user."""
    cut: list[list[Iteration]] = []
    for step in steps:
        if step.ctx_reqs:
            cut.append([])
        if cut:
            cut[-1].append(step)
    return cut


def _bursts(rows: Sequence[Row]) -> list[list[Row]]:
    bursts: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: (row["users"], row["t_send"])):
        last = bursts[-1][-1] if bursts else None
        if last and last["users"] == row["users"] and row["t_send"] - last["t_send"] < BURST_GAP_S:
            bursts[-1].append(row)
        else:
            bursts.append([row])
    return bursts
