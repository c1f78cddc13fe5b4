"""A measurement's server put together again: every column that says how it was set up, and what its blanks mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from calibration import catalog, sources
from calibration.eras import APART, BARE, era
from calibration.points import Point
from policies.caches.slots import padded
from sim import compose
from sim.cli.measured.options import SLOTS, options_of
from sim.cli.measured.version import RELEASED, modelled_version, states_release
from sim.engine import Deployment
from sim.errors import SimctlError, UnknownName
from sim.variant import Variant

CONTEXT = {"vllm": "max_model_len", "ollama": "num_ctx", "llama_cpp": "ctx_size"}
WEIGHTS_NAMES = {"w4a8": "int4"}  # what lies in memory
SPARE = 8  # a context that is to hold requests is this part longer than their mean


class NotComparable(SimctlError):
    """A measurement that cannot be predicted; the message says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What one request of a measurement asks of the context."""

    prompt: int  # what was there before included
    output: int

    @property
    def tokens(self) -> int:
        """Of context at its end."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Server:
    """The server that a measurement was taken on, and what had to be assumed to put it together."""

    variant: Variant
    deployment: Deployment
    assumed: tuple[str, ...]


def engine_of(point: Point) -> str:
    """The engine that simulates the measurement's."""
    if not point.engine:
        raise NotComparable("engine not stated")
    try:
        found = compose.engine_name(point.engine)
    except UnknownName:
        found = ""
    if found not in RELEASED:
        raise NotComparable(f"engine not modelled: {point.engine}")
    return found


def server(point: Point, shape: Shape, *, serves: bool) -> Server:
    """The server; of one that `serves` requests, the context must hold them."""
    variant, assumed = _variant(point)
    variant, more = _with_context(point, variant)
    deployment = _deploy(point, variant)
    if variant.engine == "llama_cpp" and "ctx_size" not in variant.options and deployment.memory.context < shape.tokens:
        slots = deployment.memory.slots or 1
        variant = _with(variant, {"ctx_size": slots * padded(shape.tokens + shape.tokens // SPARE)})
        deployment, more = _deploy(point, variant), (*more, "context blank: as long as the requests need")
    if serves:
        _require_room(deployment, shape)
    return Server(variant, deployment, (*assumed, *more))


def bench(point: Point, shape: Shape, sequences: int) -> Server:
    """A bench program of llama.cpp: so many sequences in a context that is just long enough."""
    variant, assumed = _variant(point)
    variant = _with(variant, {"parallel": sequences, "ctx_size": sequences * padded(max(1, shape.tokens))})
    deployment = without_host(_deploy(point, variant))
    return Server(variant, deployment, (*assumed, "a bench program: no server, context as needed"))


def without_host(deployment: Deployment) -> Deployment:
    """The deployment with a CPU that takes no time: whatever a server does between steps is not measured."""
    return replace(deployment, host=replace(deployment.host, single_thread=inf))


def with_even_contexts(deployment: Deployment) -> Deployment:
    """The deployment as a bench sees it: every row is as long as the others."""
    return replace(deployment, traits=replace(deployment.traits, even_contexts=True))


def _deploy(point: Point, variant: Variant) -> Deployment:
    """The deployment. Of an era before those modelled, or of kernels without a server, it keeps the words for it."""
    deployment = compose.deploy(variant)
    words = era(deployment.traits.kernels, point.engine_version)
    if words == BARE:
        deployment = without_host(deployment)
    if sources.products_only(point.source_id):
        deployment = replace(deployment, traits=replace(deployment.traits, products_only=True))
    return replace(deployment, version=point.engine_version) if words in APART else deployment


def _with(variant: Variant, options: Mapping[str, Any]) -> Variant:
    return replace(variant, options={**variant.options, **options})


def _variant(point: Point) -> tuple[Variant, tuple[str, ...]]:
    """Everything but the context."""
    engine = engine_of(point)
    for name in ("gpu", "model"):
        if getattr(point, name) in ("", "unstated"):
            raise NotComparable(f"{name} not stated")
    point = of_its_source(point, engine)
    version, dated = modelled_version(engine, point.engine_version)
    weights, guessed = _weights(point, engine)
    options, ignored = options_of(point, engine)
    variant = Variant(
        id=point.engine,
        engine=engine,
        version=version,
        gpu=catalog.gpu(point.gpu).id,
        gpus=max(1, point.gpu_count),
        model=catalog.model(point.model).id,
        weights=weights,
        options=options,
    )
    return variant, tuple(told for told in (dated, guessed, _slots_blank(point, options, engine), *ignored) if told)


def of_its_source(point: Point, engine: str) -> Point:
    """What is known of the source's server for a row that does not name its release."""
    source = sources.sources().get(point.source_id)
    if source is None or not source.engine_version or states_release(engine, point.engine_version):
        return point
    options = point.engine_options or source.engine_options
    return replace(point, engine_version=source.engine_version, engine_options=options)


def _slots_blank(point: Point, options: Mapping[str, Any], engine: str) -> str | None:
    return None if SLOTS[engine] in options else f"slots blank: the default of {point.engine}"


def _weights(point: Point, engine: str) -> tuple[str, str | None]:
    """The catalogue's name for the measurement's weight format."""
    stated = point.weights.strip().lower()
    if not stated:
        usual = compose.default_weights(engine, catalog.model(point.model))
        return usual, f"weights blank: {usual}, what users of {point.engine} run"
    first = stated.split(" ")[0].removeprefix("gguf-")
    name = WEIGHTS_NAMES.get(first, first)
    return name, None if name == stated else f"weights '{point.weights}': {name}"


# -- context


def _with_context(point: Point, variant: Variant) -> tuple[Variant, tuple[str, ...]]:
    """The context as stated; blank, what the engine takes of itself."""
    name = CONTEXT[variant.engine]
    if name in variant.options:
        return variant, ()
    if variant.engine == "vllm":
        return _with_length(point, variant)
    slots = point.slots or 1
    if point.context:
        return _with(variant, {name: point.context * (slots if variant.engine == "llama_cpp" else 1)}), ()
    if point.kv_tokens:
        return _with(variant, {name: point.kv_tokens // (1 if variant.engine == "llama_cpp" else slots)}), ()
    return variant, (f"context blank: the default of {point.engine}",)


def _with_length(point: Point, variant: Variant) -> tuple[Variant, tuple[str, ...]]:
    """vLLM's longest request: no server starts with more than the model has or the cache holds."""
    if not point.context:
        return _with(variant, {"max_model_len": "auto"}), ("context blank: the model's, or what fits",)
    most = catalog.model(point.model).max_context
    cut = (f"context {point.context}: cut to the model's {most}",) if point.context > most else ()
    return _with(variant, {"max_model_len": min(point.context, most)}), cut


def _require_room(deployment: Deployment, shape: Shape) -> None:
    """Ollama drops what is too long; the others refuse it."""
    context = deployment.memory.context
    if deployment.engine != "ollama" and shape.tokens > context:
        raise NotComparable(f"requests of {shape.tokens} tokens in a context of {context}")
