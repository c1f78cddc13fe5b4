"""Everything needed to repeat a run, and what came out of it."""

from dataclasses import dataclass, field

from sim.cost import StepCost
from sim.engine import Deployment
from sim.journal import Columns
from sim.router import RouterMaker
from sim.workload import Workload


@dataclass(frozen=True)
class Patience:
    """What the clients do when the answer does not come."""

    timeout_s: float | None = None
    retries: int = 0
    backoff_s: float = 1.0


@dataclass(frozen=True)
class Scenario:
    """One run: it pickles, and the same scenario gives the same bytes."""

    deployment: Deployment
    cost: StepCost
    workload: Workload
    router: RouterMaker
    replicas: int = 1
    seed: int = 0
    patience: Patience = field(default_factory=Patience)
    stride_limit: int | None = None  # 1 runs every step by itself; nothing but the running time changes


@dataclass(frozen=True)
class ReplicaRecord:
    """What one replica did."""

    strides: Columns
    gaps: Columns
    usage: Columns
    preemptions: int
    capacity_tokens: int


@dataclass(frozen=True)
class Result:
    """What happened, request by request and stride by stride."""

    scenario: Scenario
    requests: Columns
    replicas: tuple[ReplicaRecord, ...]
    end_ps: int  # when the last request ended
    unanswered: int  # requests still inside when nothing could happen any more
