"""What a step costs: the only place that knows how step times add up over a stride."""

from dataclasses import dataclass
from math import isqrt
from typing import Protocol

from sim.batch import Batch

FOREVER = 1 << 60


@dataclass(slots=True)  # a value, but frozen it would take three times as long to make
class Stride:
    """Equal-shaped steps whose durations form an arithmetic progression, in whole picoseconds."""

    first_ps: int
    growth_ps: int = 0
    steps: int = FOREVER  # for how many steps the progression holds
    prefill_ps: int = 0  # share of the first step that is prompt work

    def total(self, steps: int) -> int:
        """Time that the first `steps` steps take together."""
        return steps * self.first_ps + self.growth_ps * (steps * (steps - 1) // 2)

    def duration(self, step: int) -> int:
        """Time that step number `step` takes, counted from 0."""
        return self.first_ps + self.growth_ps * step

    def steps_covering(self, elapsed_ps: int) -> int:
        """The smallest number of steps, at least one, that lasts `elapsed_ps` or longer."""
        if elapsed_ps <= self.first_ps:
            return 1
        if self.growth_ps == 0:
            return -(-elapsed_ps // self.first_ps)
        slope = 2 * self.first_ps - self.growth_ps
        root = isqrt(slope * slope + 8 * self.growth_ps * elapsed_ps)
        steps = max(1, (root - slope) // (2 * self.growth_ps))
        while self.total(steps) < elapsed_ps:
            steps += 1
        return steps


class StepCost(Protocol):
    """Turns batches into time."""

    @property
    def trust(self) -> str:
        """How far the times can be relied on: measured, interpolated, extrapolated or datasheet."""
        ...

    def stride(self, batch: Batch) -> Stride:
        """The durations of the batch and of its repetitions."""
        ...
