"""What a format's figures do not mean, said where a file holds such figures and nowhere else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from calibration.points import Point


def every(_: Point) -> bool:
    """For what is true of any point of a format."""
    return True


def under(*loads: str) -> Callable[[Point], bool]:
    """For what is true of some loads."""
    return lambda point: point.load in loads


@dataclass(frozen=True, slots=True)
class Pitfall:
    """A warning, and the points that it is about."""

    text: str
    touches: Callable[[Point], bool] = every


def warnings(pitfalls: Iterable[Pitfall], points: Iterable[Point]) -> tuple[str, ...]:
    """What whoever uses these points should know."""
    points = tuple(points)
    return tuple(pitfall.text for pitfall in pitfalls if any(map(pitfall.touches, points)))
