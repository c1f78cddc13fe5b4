"""Measurements as the fit sees them: a time, and the passes that it was spent on."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from calibration import catalog, sampling, sources
from calibration.eras import SYNC, V0
from calibration.fitting.by_load import READERS
from calibration.fitting.passes import Passes, Unusable
from calibration.gates.impossible import Impossible
from calibration.gates.sieve import kv_types, verdict
from calibration.paged import unpartitioned
from calibration.points import Point
from calibration.scopes import Family, family_of, shape
from calibration.terms import Facts, facts
from sim.engine import Traits
from sim.errors import SimctlError
from sim.hardware import Gpu, Model

KERNELS = {"vllm": "vllm", "llama.cpp": "llama.cpp", "ollama": "llama.cpp"}
SAMPLERS = {"vllm": "", "llama.cpp": "", "ollama": "penalised"}  # on the CPU; benches of llama.cpp sample nothing
MOST_WEIGHTS = 0.95  # of the memory; beyond it layers are on the host
AHEAD = re.compile(r"async.scheduling(=true)?(;|$)", re.IGNORECASE)  # the host decides a step while the cards compute
ON_HOST = "layers on the CPU"  # as the reader of llama-bench notes it
UNSTATED = "unstated"  # of a card or a model, by a reader whose file does not name it
KV_SHARE = 0.9  # of what the weights leave of the memory


@dataclass(frozen=True, slots=True)
class Observation:
    """One time, the passes it took (how often, and what each did), and whose kernels they were."""

    point: Point
    model: str  # its shape
    family: Family
    facts: Facts
    passes: Passes
    hosted: bool  # the host's work on a step is part of its time
    measured_s: float

    @property
    def of_prompts(self) -> bool:
        """Whether its time is that of prompts alone, of a slice of one among them."""
        return not any(work.decodes for _, work in self.passes)

    @property
    def lists_blocks(self) -> bool:
        """Whether the host went over the blocks of all sequences in every step of its time."""
        return self.hosted and self.family.era == V0


def observe(points: Iterable[Point]) -> tuple[list[Observation], list[tuple[Point, str]]]:
    """What can be used of the points, and why the others cannot."""
    used, left = [], []
    for point in points:
        try:
            used.append(observation(point))
        except (SimctlError, Unusable) as reason:
            left.append((point, str(reason)))
    return used, left


def own_sources(observations: Iterable[Observation]) -> frozenset[str]:
    """The user's own, where they stand beside committed ones; by themselves they are what a fit is about."""
    found = {one.point.source_id for one in observations}
    committed = found & set(sources.sources())
    return frozenset(found - committed) if committed else frozenset()


def by_kernels(observations: Sequence[Observation]) -> list[list[Observation]]:
    """Those of each engine's kernels: they share no coefficient, so that one says nothing of the other."""
    found: dict[str, list[Observation]] = defaultdict(list)
    for one in observations:
        found[one.family.kernels].append(one)
    return [found[kernels] for kernels in sorted(found)]


def observation(point: Point) -> Observation:
    """The passes behind a point's time."""
    kernels = KERNELS.get(point.engine)
    if kernels is None:
        raise Unusable(f"{point.engine} is not modelled")
    for flag in ("gpu", "model"):
        if getattr(point, flag) == UNSTATED:
            raise Unusable(f"the {flag} is not stated: give --{flag} NAME")
    gpu, model = catalog.gpu(point.gpu), catalog.model(point.model)
    bits = catalog.weight_bits(model, point.weights, point.engine)
    traits = Traits(
        kernels,
        point.weights,
        bits,
        kv_bytes_per_element=kv_bytes(point),
        tensor_parallel=point.gpu_count if kernels == "vllm" else 1,
        products_only=sources.products_only(point.source_id),
    )
    family = family_of(traits, gpu, model, point.engine_version)
    if isinstance(found := verdict(point), Impossible):
        raise Unusable(found.why)
    weight_bytes = model.parameters * bits / 8
    if weight_bytes > MOST_WEIGHTS * gpu.memory_bytes * point.gpu_count or ON_HOST in point.notes:
        raise Unusable("layers are on the host")
    reader = READERS.get(point.load)
    if reader is None:
        raise Unusable(f"load {point.load}: its batch is not known")
    measured, passes = reader(point, kernels, room(gpu, model, weight_bytes, point))
    if family.paged and unpartitioned(gpu, model, point.gpu_count, max(work.decodes for _, work in passes)):
        raise Unusable("the attention of so many heads had a kernel of its own in vLLM's first engine")
    amounts = facts(model, gpu, traits, per_head=family.per_head)
    sampled = sum(times * work.outputs for times, work in passes) * sampling.row_s(SAMPLERS[point.engine], model.vocab)
    hosted = family.era in (V0, SYNC) and not AHEAD.search(point.engine_options)
    return Observation(point, shape(model), family, amounts, passes, hosted, measured - sampled)


def kv_bytes(point: Point) -> float:
    """Bytes of one element of a key or a value; two, unless the server was told otherwise."""
    named = kv_types(point)
    return fmean(map(catalog.kv_bytes_per_element, named)) if named else 2.0


def room(gpu: Gpu, model: Model, weight_bytes: float, point: Point) -> float:
    """Tokens of context that the memory holds beside the weights."""
    if point.kv_tokens:
        return point.kv_tokens
    per_token = model.kv_bytes_per_token(kv_bytes(point))
    if point.kv_gib:
        return point.kv_gib * 2**30 * point.gpu_count / per_token
    return (KV_SHARE * gpu.memory_bytes * point.gpu_count - weight_bytes) / per_token
