"""A load on its way to a server by something that changes its requests, or when they come."""

from dataclasses import dataclass

from sim.workload import Workload


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What the load counts stays its own."""

    workload: Workload

    @property
    def requests(self) -> int:
        """How many in all."""
        return self.workload.requests

    @property
    def warmup(self) -> int:
        """How many of the first ones are left out of the measurements."""
        return self.workload.warmup

    @property
    def cooldown(self) -> int:
        """How many of the last ones are."""
        return self.workload.cooldown
