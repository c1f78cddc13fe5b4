"""The memory cliff of Ollama's slots: from which number on even two users are slow."""

from collections.abc import Mapping
from dataclasses import dataclass

from calibration import sources
from calibration.points import Point
from sim import compose
from sim.cause import Limit
from sim.cli.step_parts import step_shares
from sim.cli.variants import Prepared
from sim.metrics import PointMetrics, summarise
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.slo import Slo
from sim.variant import Variant
from tests import cliff_readings
from tests.cliff_readings import Cliff
from workloads.distributions import Fixed
from workloads.open_loop import Burst

SOURCE = "check-parallels"
BURST = 2
SLOT_TOKENS = 4096
OTHER_MODEL = "DeepSeek"  # of the same shape as another one, in notes
MODELS = ("qwen3-14b", "qwen3-8b", "qwen3-4b", "qwen3-0.6b", "gemma-3-12b", "gemma-3-4b")
NONE_SEEN = "qwen3-1.7b"  # no fall was measured


@dataclass(frozen=True, slots=True)
class Pair:
    """A burst of two on a server with so many slots."""

    tok_s: float
    layers_on_host: int
    cause: Limit | None


def measured(model: str) -> dict[int, Point]:
    """The bursts of two by number of slots."""
    rows = [point for point in sources.load(SOURCE) if point.model == model and OTHER_MODEL not in point.notes]
    return {point.slots or 0: point for point in rows if point.load_value == BURST}


def server(model: str, count: int) -> Variant:
    """Ollama as the source ran it, as far as that is known: the page of the two stories says what is assumed."""
    options = {"num_parallel": count, "num_ctx": SLOT_TOKENS, "flash_attention": True}
    return Variant("slots", "ollama", "rtx-4060-ti-16g", model, "0.6.7", options, "q4_k_m", host="desktop-ddr4")


def pair(model: str, count: int, point: Point) -> Pair:
    """The burst simulated."""
    variant = server(model, count)
    deployment = compose.deploy(variant)
    lengths = Fixed(round(point.prompt_tokens or 0)), Fixed(round(point.output_tokens or 0))
    cost = compose.step_cost(variant, deployment)
    result = simulate(Scenario(deployment, cost, Burst(BURST, *lengths), compose.router("round_robin")))
    metrics: PointMetrics = summarise(result, Slo())
    named = cliff_readings.cause(metrics, step_shares(Prepared(variant, deployment), metrics))
    return Pair(metrics.output_tps, deployment.memory.layers_on_host, named)


def pairs(model: str) -> Mapping[int, Pair]:
    """All numbers of slots that were measured."""
    return {count: pair(model, count, point) for count, point in measured(model).items()}


def cliff(model: str) -> Cliff:
    """Where the burst of two falls."""
    seen = {count: point.output_tps or 0.0 for count, point in measured(model).items()}
    ours = pairs(model)
    last, fallen = cliff_readings.slots(seen)
    predicted, slow = cliff_readings.slots({count: one.tok_s for count, one in ours.items()})
    assert fallen is not None, "no cliff was measured"
    return Cliff(
        f"Ollama, {model} Q4_K_M, RTX 4060 Ti 16 GB, 4,096 tokens a slot",
        SOURCE,
        "slots",
        last,
        predicted,
        f"a burst of two: {seen[last]:g} tok/s on {last} slots, {seen[fallen]:g} on {fallen}",
        "spill",
        None if slow is None else ours[slow].cause,
        100 * (ours[last].tok_s / seen[last] - 1),
    )
