"""Loads as sources state them beside their tables: lengths, how many requests, and whether prompts repeat."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from calibration.points import Point
from sim.request import Request
from sim.workload import Port, Source, Workload
from workloads.distributions import Fixed, Uniform
from workloads.users import ClosedLoop

ROUNDS = 12  # of each user in a run of a minute and more; the first and the last are not measured

MakeLoad = Callable[[Point], Workload]


@dataclass(frozen=True, slots=True)
class OnePrompt:
    """A load whose prompts are one and the same text."""

    load: ClosedLoop

    @property
    def requests(self) -> int:
        """As many as the load has."""
        return self.load.requests

    @property
    def warmup(self) -> int:
        """As the load's."""
        return self.load.warmup

    @property
    def cooldown(self) -> int:
        """As the load's."""
        return self.load.cooldown

    def source(self, port: Port) -> Source:
        """The load's own source, its prompts marked on their way."""

        def send(request: Request) -> None:
            request.prefix = (("the prompt", request.prompt_tokens),)
            port.send(request)

        return self.load.source(replace(port, send=send))


def benchmark(prompts: int) -> MakeLoad:
    """A client with so many requests of equal length, all of which it counts."""

    def load(point: Point) -> Workload:
        lengths = Fixed(round(point.prompt_tokens or 0)), Fixed(round(point.output_tokens or 0))
        return cast(Workload, ClosedLoop(round(point.load_value), prompts, *lengths))

    return load


def for_a_minute(shortest: int, longest: int) -> MakeLoad:
    """A client that sends one prompt again and again for answers of uniform length; start and end are not counted."""

    def load(point: Point) -> Workload:
        users = round(point.load_value)
        lengths = Fixed(round(point.prompt_tokens or 0)), Uniform(shortest, longest)
        return cast(Workload, OnePrompt(ClosedLoop(users, ROUNDS * users, *lengths, warmup=users, cooldown=users)))

    return load
