"""Whether physics allows what a measurement says."""

from calibration import catalog, gate
from calibration.points import Point


def refusal(point: Point, weights: str) -> str | None:
    """Why not, with the arithmetic, for weights of the catalogue's format; nothing where it does."""
    model = catalog.model(point.model)
    return gate.judge(point, catalog.gpu(point.gpu), model, catalog.weight_bits(model, weights))
