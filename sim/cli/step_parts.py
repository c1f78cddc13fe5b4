"""How much of a decode step is the host's: the step's price once more with a host that takes no time."""

from dataclasses import replace

from sim import compose
from sim.batch import Batch, Pass
from sim.cause import StepShares
from sim.cli.variants import Prepared
from sim.engine import Deployment
from sim.metrics import PointMetrics

NO_TIME = 1e9  # times as fast as any host


def step_shares(row: Prepared, metrics: PointMetrics) -> StepShares:
    """The parts of the decode step that the average token of a load comes from."""
    deployment, decodes = row.deployment, round(metrics.blame.decodes)
    if deployment is None or not decodes:
        return StepShares()
    context = round(metrics.blame.context)
    whole = _step_ps(row, deployment, decodes, context)
    idle_host = replace(deployment, host=replace(deployment.host, single_thread=NO_TIME))
    nothing_spilled = replace(
        deployment, memory=replace(deployment.memory, layers_on_host=0, host_weight_bytes=0, host_kv_bytes=0)
    )
    host, spill = (
        max(0.0, 1 - _step_ps(row, other, decodes, context) / whole) for other in (idle_host, nothing_spilled)
    )
    return StepShares(host, spill)


def _step_ps(row: Prepared, deployment: Deployment, decodes: int, context: int) -> int:
    one = Pass(decodes, context + decodes, 0, outputs=decodes, padded=decodes)
    return compose.step_cost(row.variant, deployment).stride(Batch(decodes, (one,), context=context)).first_ps
