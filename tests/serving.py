"""Whole scenarios in one call, small enough to be checked by hand or by brute force."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest

from policies.caches.paged import PagedCache
from policies.routers.round_robin import RoundRobin
from policies.schedulers.vllm_v1 import VllmV1
from sim.batch import Batch
from sim.cache import KVCache
from sim.clock import PS_PER_MS
from sim.cost import StepCost, Stride
from sim.engine import Deployment, MemoryPlan, Traits
from sim.hardware import GIB, Gpu, Host, Model
from sim.journal import REQUEST_COLUMNS
from sim.scenario import Patience, Result, Scenario
from sim.scheduler import Scheduler
from sim.simulate import simulate
from sim.workload import Workload
from workloads.open_loop import Burst, OpenLoop
from workloads.users import ClosedLoop

Load = ClosedLoop | OpenLoop | Burst

# The journal has to say which replica served a request and how long its own interruptions were.
needs_own_columns = pytest.mark.skipif(
    not {"replica", "stall_ps"} <= set(REQUEST_COLUMNS), reason="the request log has no columns replica and stall_ps"
)

GPU = Gpu("g", "G", "nvidia", "hbm", 40 * GIB, 1000.0, 100.0)
HOST = Host("h", "H", 64 * GIB, 100.0, 1.0)
PATIENT = Patience()
AMPLE = partial(PagedCache, 100_000)
MODEL = Model("m", "M", "llama", 10**9, 10**9, 16, 2048, 16, 16, 128, 32000, 8192)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Whole picoseconds for each step, decoding row, KV cell and prompt token."""

    step_ps: int = PS_PER_MS
    row_ps: int = 0
    cell_ps: int = 0
    prompt_ps: int = 0
    trust: str = "datasheet"

    def stride(self, batch: Batch) -> Stride:
        """The sum over the passes."""
        prefill = sum(self.prompt_ps * one.prefill_tokens for one in batch.passes)
        rows = sum(self.row_ps * one.decodes + self.cell_ps * one.cells for one in batch.passes)
        growth = sum(self.cell_ps * one.growth for one in batch.passes)
        return Stride(self.step_ps + rows + prefill, growth, prefill_ps=prefill)


def serve(
    scheduler: Scheduler,
    load: Load,
    cost: StepTimes,
    cache: Callable[[], KVCache] = AMPLE,
    replicas: int = 1,
    seed: int = 0,
    stride_limit: int | None = None,
    patience: Patience = PATIENT,
) -> Result:
    """Play the load against the scheduler."""
    plan = MemoryPlan(0, 0, 0, 0, 8192)
    deployment = Deployment("test", "1", {}, (GPU,), HOST, MODEL, plan, Traits("vllm", "bf16", 16.0), scheduler, cache)
    workload, times = cast(Workload, load), cast(StepCost, cost)
    return simulate(Scenario(deployment, times, workload, RoundRobin, replicas, seed, patience, stride_limit))


@dataclass
class Witness(VllmV1):
    """Writes down, step by step, which requests get a token: who sees everything needs no closed forms."""

    cores: list[list[list[int]]] = field(default_factory=list)

    def bind(self, cache: KVCache) -> None:
        """Start a list for this core."""
        super().bind(cache)
        self._steps: list[list[int]] = []
        self.cores.append(self._steps)

    def schedule(self) -> Batch | None:
        """As vLLM does, under observation."""
        members = [request for request in self.running if request.lockstep]
        batch = super().schedule()
        if batch is not None and batch.passes:
            pieces = {piece.request for piece in batch.pieces}
            served = [request.id for request in members if request.lockstep and request not in pieces]
            self._steps.append(served + [piece.request.id for piece in batch.pieces if piece.ends])
        return batch


def witnessed(load: Load, cost: StepTimes, **options: Any) -> tuple[Result, dict[int, list[int]]]:
    """A run and the instants of every request's tokens, as seen step by step."""
    limits = {name: options.pop(name) for name in ("max_num_seqs", "max_num_batched_tokens") if name in options}
    witness = Witness(**limits)
    single = serve(witness, load, cost, stride_limit=1, **options)
    instants: dict[int, list[int]] = {}
    for record, steps in zip(single.replicas, witness.cores, strict=True):
        ends = record.strides["start_ps"] + record.strides["first_ps"]
        for end, served in zip(ends.tolist(), steps, strict=True):
            for number in served:
                instants.setdefault(number, []).append(end)
    return serve(VllmV1(**limits), load, cost, **options), instants
