"""Measurements through the physics gate, their cards, models and formats looked up in the catalogue."""

import re
from dataclasses import dataclass

from calibration import catalog
from calibration.gates.gate import first_impossible
from calibration.gates.impossible import Impossible
from calibration.gates.limits import Limits
from calibration.points import Point
from calibration.reading import UNSTATED
from sim.errors import SimctlError
from sim.hardware import Model

ENGINES = {"ollama": "llama.cpp"}  # whose weight files it loads
NARROWEST = {"llama.cpp": "q4_0", "ollama": "q4_0"}  # of weights that nobody described: what is narrower gets named
NARROWEST_ELSEWHERE = "awq"
LEAST_KV_BYTES = 0.5
KV_TYPE = re.compile(r"(?:kv.cache.(?:dtype|type)|cache.type.[kv]|type.[kv]|ctk|ctv)\s*[=:]\s*([\w.-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Why physics has no say in a point."""

    why: str


def verdict(point: Point) -> Impossible | Unjudged | None:
    """Why the point cannot be, or why that cannot be said; None where it is possible."""
    try:
        return first_impossible(point, _limits(point))
    except SimctlError as error:
        return Unjudged(str(error))


def _limits(point: Point) -> Limits:
    for field in ("gpu", "model"):
        if getattr(point, field) in UNSTATED:
            raise SimctlError(f"{field} is not stated")
    gpu, model = catalog.gpu(point.gpu), catalog.model(point.model)
    weights = point.weights or _narrowest(model, point)
    return Limits(gpu, model, point.gpu_count, weights, _weight_bits(model, weights, point), _kv_bytes(point))


def _narrowest(model: Model, point: Point) -> str:
    """The format that is read fastest, of the engine's usual one and the one that the model is published in."""
    usual = NARROWEST.get(point.engine, NARROWEST_ELSEWHERE)
    return min(filter(None, (usual, model.native_weights)), key=lambda weights: _weight_bits(model, weights, point))


def _weight_bits(model: Model, weights: str, point: Point) -> float:
    return catalog.weight_bits(model, weights, ENGINES.get(point.engine, point.engine))


def kv_types(point: Point) -> list[str]:
    """The types of keys and values that the options name."""
    return KV_TYPE.findall(point.engine_options)


def _kv_bytes(point: Point) -> float:
    """Of an element: the narrowest of the types that are named."""
    return min(map(_kv_type_bytes, kv_types(point)), default=2.0)


def _kv_type_bytes(name: str) -> float:
    try:
        return catalog.kv_bytes_per_element(name)
    except SimctlError:
        return LEAST_KV_BYTES
