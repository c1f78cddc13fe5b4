"""Whether physics allows what a measurement says."""

from calibration.points import Point


def refusal(point: Point) -> str | None:
    """Why not, with the arithmetic; nothing where it does."""
    return None
