"""A load test with rising rates of arrival: its requests at their instants, on steps as long as at its lowest rate."""

import csv
from pathlib import Path

import numpy as np

from calibration.tables.steptable import StepTable
from calibration.tables.tablecost import TableCost
from sim import compose
from sim.clock import PS_PER_S
from sim.metrics import PointMetrics, summarise
from sim.scenario import Result, Scenario
from sim.simulate import simulate
from sim.slo import Slo
from sim.variant import Variant
from tests import cliff_readings
from tests.cliff_readings import Cliff
from workloads.trace import Trace, read_trace

FOLDER = Path(__file__).parent / "data" / "load_test"
RECORDED_SCALE = 100  # the one whose arrivals and step times are held
# The card is not named; 24 GiB of it hold the keys and values of all requests with room to spare, on any.
SERVER = Variant("load-test", "vllm", "rtx-3090", "llama-3.2-1b", "0.8", {"max_num_seqs": 256})

# Medians of the server's own half-second log at scale 100, when it saw no prompt; single prompts' TTFT on an idle one.
TABLE = StepTable(
    decode_batches=(3, 14, 41, 74, 106, 137),
    decode_contexts=(512,),
    decode_ms=((5.64,), (8.76,), (15.79,), (25.53,), (35.33,), (43.84,)),
    prefill_tokens=(37, 158, 455, 776),
    prefill_ms=(23.0, 24.6, 32.3, 42.8),
    mixed="joint",
)


def measured() -> dict[int, dict[str, float]]:
    """What the source reports, by scale: 100 is the trace as it is held, 200 twice as fast."""
    with (FOLDER / "levels.csv").open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return {int(row["scale"]): row for row in rows}


def arrivals(scale: int) -> Trace:
    """The requests, so many times as fast."""
    held = read_trace(FOLDER / "requests.csv")
    times = tuple(each * RECORDED_SCALE // scale for each in held.arrivals_ps)
    return Trace(f"at {scale}", times, held.prompts, held.outputs)


def rate(scale: int) -> float:
    """Requests a second, over the whole trace."""
    trace = arrivals(scale)
    return trace.requests / (trace.arrivals_ps[-1] / PS_PER_S)


def run(scale: int) -> Result:
    """The server under the trace at that speed."""
    return simulate(Scenario(compose.deploy(SERVER), TableCost(TABLE), arrivals(scale), compose.router("round_robin")))


def p99_ttft_s(result: Result) -> float:
    """Of all requests."""
    log = result.requests
    return float(np.percentile((log["first_token_ps"] - log["arrival_ps"]) / PS_PER_S, 99))


def cliff() -> Cliff:
    """Where the slowest first tokens come too late."""
    source = measured()
    results = {scale: run(scale) for scale in source}
    seen = {rate(scale): row["ttft_p99_s"] for scale, row in source.items()}
    ours = {rate(scale): p99_ttft_s(result) for scale, result in results.items()}
    position = cliff_readings.wait(ours)
    after = cliff_readings.beyond(list(ours), position)
    metrics: dict[float, PointMetrics] = {rate(scale): summarise(each, Slo()) for scale, each in results.items()}
    return Cliff(
        "vLLM of October 2024, llama-3.2-1b, a card of 24 GiB, 256 places; trace of arrivals",
        "load_test",
        "wait",
        cliff_readings.wait(seen),
        position,
        "running 256 from twice the lowest rate on, KV never above 48%",
        "seq_slots",
        cliff_readings.causes(metrics[after], cliff_readings.NOTHING_APART),
    )
