"""Loads as sources state them beside their tables: lengths, how many requests, and whether prompts repeat."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from calibration.points import Point
from sim.request import Request
from sim.workload import Port, Source, Workload
from workloads.distributions import Fixed, Uniform
from workloads.users import ClosedLoop
from workloads.wrapped import Wrapped

ROUNDS = 12  # of each user in a run of a minute and more; the first and the last are not measured

MakeLoad = Callable[[Point], Workload]


@dataclass(frozen=True, slots=True)
class OnePrompt(Wrapped):
    """A load whose prompts are one and the same text."""

    def source(self, port: Port) -> Source:
        """The load's own source, its prompts marked on their way."""

        def send(request: Request) -> None:
            request.prefix = (("the prompt", request.prompt_tokens),)
            port.send(request)

        return self.workload.source(replace(port, send=send))


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
