"""A variant's engine put on its machine, under its own policy or another."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any, get_type_hints

from calibration import catalog
from sim.cache import KVCache
from sim.compose.machines import machine
from sim.compose.names import engine, is_scheduler, option_value, policy_class
from sim.engine import Deployment
from sim.errors import NotSupported, UnknownName, UsageError
from sim.hardware import Model
from sim.variant import Variant

BLOCK_SIZE = 16  # tokens, for paged policies on engines without blocks


def deploy(variant: Variant) -> Deployment:
    """Put the variant's engine on its machine; raises DoesNotFit, NotSupported or UsageError."""
    card, host, model = machine(variant)
    weights = variant.weights or default_weights(variant.engine, model)
    bits = catalog.weight_bits(model, weights, variant.engine)
    if hasattr(engine(variant.engine), "DEFAULT_WEIGHTS") and not catalog.is_gguf(weights):
        raise NotSupported(f"{variant.engine} loads GGUF files, which hold no {weights}: use q4_k_m, q8_0 or f16")
    options = {**variant.options, "weights": weights, "weight_bits": bits}
    if variant.version is not None:
        options["version"] = variant.version
    if variant.kv_type is not None:
        catalog.kv_bytes_per_element(variant.kv_type)
        options["kv_type"] = variant.kv_type
    deployment = engine(variant.engine).deploy((card,) * variant.gpus, host, model, options)
    return deployment if variant.scheduler is None else with_scheduler(deployment, variant.scheduler)


def default_weights(engine_id: str, model: Model | None = None) -> str:
    """The format that a model is published in where the engine can load it, else what its users run."""
    usual = getattr(engine(engine_id), "DEFAULT_WEIGHTS", None)
    if model and model.native_weights and (usual is None or catalog.is_gguf(model.native_weights)):
        return model.native_weights
    return str(usual or "bf16")


def with_scheduler(deployment: Deployment, text: str) -> Deployment:
    """The deployment under another policy, which keeps the options that both have: `sjf:noise=0.3`."""
    name, options = _policy_text(text)
    kind = policy_class("schedulers", "scheduler", name, is_scheduler)
    known = [field.name for field in fields(kind) if field.init]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of scheduler '{name}'", option, known)
    shared = {key: getattr(deployment.scheduler, key) for key in known if hasattr(deployment.scheduler, key)}
    try:
        chosen = replace(deployment, scheduler=kind(**{**shared, **options}), cache=_cache_for(kind, deployment))
        chosen.core()
    except (TypeError, ValueError) as error:
        raise UsageError(f"scheduler '{name}' does not go with {deployment.engine}: {error}") from error
    return chosen


def _policy_text(text: str) -> tuple[str, dict[str, Any]]:
    """`name:key=value,key=value` in parts; a colon may also stand in `package.module:Class`."""
    name, _, rest = text.rpartition(":") if "=" in text else (text, "", "")
    pairs = [part.partition("=") for part in rest.split(",")] if rest else []
    if not name or any(not equals for _, equals, _ in pairs):
        raise UsageError(f"scheduler '{text}' is not written as sjf or sjf:noise=0.3")
    return name, {key.strip(): option_value(value.strip()) for key, _, value in pairs}


def _cache_for(kind: type[Any], deployment: Deployment) -> Callable[[], KVCache]:
    """The engine's own cache for its own policy; for another the plain cache it works with, of the same size."""
    from policies.caches.paged import PagedCache
    from policies.caches.reserved import ReservedCache

    wanted, memory = get_type_hints(kind)["cache"], deployment.memory
    if kind is type(deployment.scheduler):
        return deployment.cache
    if wanted is ReservedCache:
        return partial(ReservedCache, memory.kv_tokens, min(memory.context, memory.kv_tokens))
    if wanted in (PagedCache, KVCache):
        block_size = deployment.options.get("block_size", BLOCK_SIZE)
        return partial(PagedCache, memory.kv_tokens // block_size + 1, block_size)
    return deployment.cache
