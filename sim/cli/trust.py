"""How far step times can be relied on."""

from collections.abc import Iterable
from typing import cast

from reports.document import Trust
from sim import compose
from sim.cli.variants import Prepared
from sim.metrics import PointMetrics


def trust(row: Prepared, runs: Iterable[PointMetrics] = ()) -> Trust | None:
    """As its profile or table has it, and no further than the worst of the runs shows."""
    if row.deployment is None:
        return None
    if any(run.extrapolated for run in runs):
        return "extrapolated"
    return cast(Trust, compose.step_trust(row.variant, row.deployment))
