"""Step times that are wrong by a factor: what the ends of a band are simulated with."""

from dataclasses import dataclass

from sim.batch import Batch
from sim.cost import StepCost, Stride


@dataclass(frozen=True)
class Slowed:
    """Every time of another cost, multiplied; a stride still equals its single steps exactly."""

    cost: StepCost
    factor: float

    @property
    def trust(self) -> str:
        """As far as the times that are multiplied."""
        return self.cost.trust

    def stride(self, batch: Batch) -> Stride:
        """The durations of the batch and of its repetitions."""
        known, factor = self.cost.stride(batch), self.factor
        return Stride(
            round(known.first_ps * factor),
            round(known.growth_ps * factor),
            known.steps,
            round(known.prefill_ps * factor),
        )
