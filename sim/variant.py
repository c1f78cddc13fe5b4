"""What a user compares and what is asked of it, in the words that the command line takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of a comparison: an engine and its options, on a machine, with a model."""

    id: str
    engine: str
    gpu: str
    model: str
    version: str | None = None  # None: the newest that is known
    options: Mapping[str, Any] = field(default_factory=dict)  # under the engine's own names
    weights: str | None = None  # None: what the engine's users run by default
    kv_type: str | None = None
    gpus: int = 1
    vram_bytes: int | None = None  # instead of what the card has
    host: str | None = None  # None: the usual machine around such a card
    replicas: int = 1
    router: str = "round_robin"
    scheduler: str | None = None  # a policy instead of the engine's own
    profile: str | None = None  # what step times follow from; None: the one fitted to measurements
    step_table: str | None = None  # a file of measured step times instead of a profile


@dataclass(frozen=True, slots=True)
class Demand:
    """What the users of a server want of it. A load without a number takes it from the sweep's user count."""

    load: str = "closed"
    workload: str = "chat"
    prompt_tokens: str | None = None  # None: as the workload has it
    output_tokens: str | None = None
    think: str = "0s"
    requests: int | None = None  # measured at each point; None: as many as `budget` says
    timeout_s: float | None = None
    retries: int = 0
    trace: str | None = None  # a file of requests instead of load and lengths


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests of one run: the first ones warm the server up, the last ones only keep the load up."""

    warmup: int
    measured: int
    cooldown: int

    @property
    def total(self) -> int:
        return self.warmup + self.measured + self.cooldown


LEAST_MEASURED = 400
ROUNDS_MEASURED = 8
LEAST_OPEN = 1000
SECONDS_OPEN = 120


def closed_budget(users: int, measured: int | None = None) -> Budget:
    """Two requests of each user to warm up, then eight of each and 400 at least, then one of each.

    Counted in rounds, the budget covers the same number of request lives whatever the output length. With three seeds
    a p99 has ten samples beyond it.
    """
    return Budget(2 * users, measured or max(LEAST_MEASURED, ROUNDS_MEASURED * users), users)


def open_budget(rate: float, measured: int | None = None) -> Budget:
    """Two minutes of arrivals and 1000 at least, after a quarter as many and before a tenth as many."""
    measured = measured or max(LEAST_OPEN, round(SECONDS_OPEN * rate))
    return Budget(-(-measured // 4), measured, -(-measured // 10))
