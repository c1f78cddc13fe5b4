"""What an engine says of itself once it is put on a machine with a model: facts, not times."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol

from sim.cache import KVCache
from sim.core import Core
from sim.hardware import Gpu, Host, Model
from sim.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where the bytes go at start-up."""

    weight_bytes: int  # on all GPUs together
    kv_bytes: int  # reserved for keys and values on the GPUs
    scratch_bytes: int  # activations, graphs, compute buffers
    kv_tokens: int  # tokens of context that the cache holds in all
    context: int  # the longest context one request may have
    blocks: int | None = None  # paged engines: the null block included
    slots: int | None = None  # slot engines
    layers_on_host: int = 0
    host_weight_bytes: int = 0
    host_kv_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Traits:
    """What the step time depends on besides the batch."""

    kernels: str  # vllm, llama.cpp
    weights: str  # bf16, q4_k_m ...
    weight_bits: float
    kv_bytes_per_element: float = 2.0
    overlaps_host: bool = False  # the next step is decided while this one runs
    unified_cells: bool = False  # every row scans the whole pool's span
    even_contexts: bool = False  # all rows of a step are equally long, as in a bench
    products_only: bool = False  # matrix products and attention were timed one by one, nothing between them
    tensor_parallel: int = 1
    sampler: str = ""  # on the CPU: plain, penalised (for repetition) or own; empty: on the GPU


@dataclass(frozen=True, slots=True)
class Door:
    """What stands before the engine's own queue; None means no bound."""

    permits: int | None = None  # requests let through at once, first come first served
    load_s: float = 0.0  # the model is loaded by the first request and takes this long
    pending_limit: int | None = None  # requests that may wait for the load; more are turned away
    waits_inside: bool = False  # those who come during a load wait behind the permits, uncounted


@dataclass(frozen=True)
class Deployment:
    """An engine put on GPUs with a model: everything about it that decides what happens."""

    engine: str
    version: str
    options: Mapping[str, Any]  # resolved, under the engine's own names
    gpus: tuple[Gpu, ...]
    host: Host
    model: Model
    memory: MemoryPlan
    traits: Traits
    scheduler: Scheduler  # a pattern: every core gets its own copy
    cache: Callable[[], KVCache]  # makes an empty cache; picklable, so a functools.partial
    door: Door = field(default_factory=Door)
    warnings: tuple[str, ...] = ()

    def core(self) -> Core:
        """A fresh running copy."""
        return Core(copy(self.scheduler), self.cache())


class Engine(Protocol):
    """A module of `policies/engines`: versions and defaults inside, one function outside."""

    @property
    def VERSIONS(self) -> tuple[str, ...]:
        """Oldest first; the last one is the default."""
        ...

    @property
    def OPTIONS(self) -> Mapping[str, str]:
        """What each option does, under the engine's own names."""
        ...

    def deploy(self, gpus: tuple[Gpu, ...], host: Host, model: Model, options: Mapping[str, Any]) -> Deployment:
        """Plan the memory and choose the policies; raises DoesNotFit, NotSupported or UsageError.

        `options` may also hold `version`, `weights`, `weight_bits` and `kv_type`.
        """
        ...
