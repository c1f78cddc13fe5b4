"""What a file leaves unsaid of its server: what its engine's users run is assumed, the rest is asked for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from calibration import catalog, naming
from calibration.points import Point

USUAL_WEIGHTS = {"vllm": "bf16", "ollama": "q4_k_m"}
LONGEST = 60  # characters of a name
CALLED = {"gpu": "card", "model": "model", "weights": "weight format"}
KNOWN: dict[str, Callable[[Point], bool]] = {
    "gpu": lambda point: naming.is_card(point.gpu) or _is_file(point.gpu),
    "model": lambda point: naming.is_model(point.model) or _is_file(point.model),
    "weights": lambda point: naming.is_format(point.weights, point.model),
}


def with_usual_weights(point: Point) -> Point:
    """The point with the format that its engine loads of a model by its name alone, where nobody says another."""
    usual = USUAL_WEIGHTS.get(point.engine)
    if point.weights or not usual or not naming.is_model(point.model):
        return point
    native = catalog.model(point.model).native_weights
    return replace(point, weights=native if native and _loads(point.engine, native) else usual)


def assumed_weights(before: Iterable[Point], after: Iterable[Point]) -> Iterator[str]:
    """Which formats were assumed."""
    filled = {new.weights for old, new in zip(before, after, strict=True) if old.weights != new.weights}
    for weights in sorted(filled):
        yield f"no weight format is stated: {weights} is assumed"


def asked_for(points: Iterable[Point]) -> Iterator[str]:
    """The cards, models and formats without which a point says nothing."""
    points = list(points)
    for column, known in KNOWN.items():
        for name in sorted({getattr(point, column) for point in points if not known(point)}):
            unstated = name in ("", "unstated")
            fact = f"no {CALLED[column]} is stated" if unstated else f"{CALLED[column]} '{name[:LONGEST]}' is unknown"
            yield f"{fact}: give it (calibrate: --{column} NAME, validate: --given {column}=NAME)"


def _loads(engine: str, weights: str) -> bool:
    return engine == "vllm" or catalog.is_gguf(weights)


def _is_file(name: str) -> bool:
    """Whether the name is a file that the catalogue reads."""
    return name.lower().endswith(naming.FILES)
