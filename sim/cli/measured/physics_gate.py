"""Whether physics allows what a measurement says of the server that it is predicted for."""

from dataclasses import replace

from calibration.gates.impossible import Impossible
from calibration.gates.sieve import verdict
from calibration.points import Point


def refusal(point: Point, weights: str) -> str | None:
    """Why not, as at an import, with the arithmetic; blank weights count as those that the server was given."""
    found = verdict(replace(point, weights=weights))
    return found.why if isinstance(found, Impossible) else None
