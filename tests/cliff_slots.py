"""The memory cliff of Ollama's slots: from which number on even two users are slow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

from calibration import sources
from calibration.points import Point
from sim import compose
from sim.cli.step_parts import step_shares
from sim.cli.variants import Prepared
from sim.hardware import GIB
from sim.metrics import PointMetrics, summarise
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.slo import Slo
from sim.variant import Variant
from tests import cliff_readings
from tests.cliff_readings import Causes, Cliff
from tests.slots import FREE_GIB, SOURCE, VERSION
from workloads.distributions import Fixed
from workloads.open_loop import Burst

BURST = 2
AVAILABLE_BYTES = round(FREE_GIB * GIB)
WHOLE_CARD_BYTES = 16 * GIB
OTHER_MODEL = "DeepSeek"  # of the same shape as another one, in notes
MODELS = ("qwen3-14b", "qwen3-8b", "qwen3-4b", "qwen3-0.6b", "gemma-3-12b", "gemma-3-4b")
NONE_SEEN = "qwen3-1.7b"  # no fall was measured


@dataclass(frozen=True, slots=True)
class Pair:
    """A burst of two on a server with so many slots."""

    tok_s: float
    layers_on_host: int
    causes: Causes


def measured(model: str) -> dict[int, Point]:
    """The bursts of two by number of slots."""
    rows = [point for point in sources.load(SOURCE) if point.model == model and OTHER_MODEL not in point.notes]
    return {point.slots or 0: point for point in rows if point.load_value == BURST}


def server(point: Point) -> Variant:
    """Ollama as the source started it: the number of slots is all that it sets."""
    return Variant(
        id="slots",
        engine="ollama",
        gpu=point.gpu,
        model=point.model,
        version=VERSION,
        options={"num_parallel": point.slots},
        weights=point.weights,
        host="desktop-ddr4",
        vram_bytes=AVAILABLE_BYTES,
    )


def pair(point: Point) -> Pair:
    """The burst simulated."""
    variant = server(point)
    deployment = compose.deploy(variant)
    lengths = Fixed(round(point.prompt_tokens or 0)), Fixed(round(point.output_tokens or 0))
    cost = compose.step_cost(variant, deployment)
    result = simulate(Scenario(deployment, cost, Burst(BURST, *lengths), compose.router("round_robin")))
    metrics: PointMetrics = summarise(result, Slo())
    causes = cliff_readings.causes(metrics, step_shares(Prepared(variant, deployment), metrics))
    return Pair(metrics.output_tps, deployment.memory.layers_on_host, causes)


def fitting(model: str, available_bytes: int = AVAILABLE_BYTES) -> int:
    """The most slots with which every layer stays on the card; tested numbers of slots do not bound it."""
    point = measured(model)[max(measured(model))]
    variants = (replace(server(replace(point, slots=n)), vram_bytes=available_bytes) for n in count(1))
    return next(n for n, each in enumerate(variants) if compose.deploy(each).memory.layers_on_host)


def pairs(model: str) -> Mapping[int, Pair]:
    """All numbers of slots that were measured."""
    return {slots: pair(point) for slots, point in measured(model).items()}


def cliff(model: str) -> Cliff:
    """Where the burst of two falls."""
    points, ours = measured(model), pairs(model)
    seen = {slots: point.output_tps or 0.0 for slots, point in points.items()}
    last, fallen = cliff_readings.slots(seen)
    predicted, slow = cliff_readings.slots({slots: one.tok_s for slots, one in ours.items()})
    assert fallen is not None, "no cliff was measured"
    return Cliff(
        f"Ollama 0.6.6, {model} {points[last].weights.upper()}, RTX 4060 Ti 16 GB",
        SOURCE,
        "slots",
        last,
        predicted,
        f"a burst of two: {seen[last]:g} tok/s on {last} slots, {seen[fallen]:g} on {fallen}",
        "spill",
        Causes() if slow is None else ours[slow].causes,
        100 * (ours[last].tok_s / seen[last] - 1),
    )
