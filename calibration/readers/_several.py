"""Files that hold several formats, as a page with two tools' tables does, or a job's log with one run told twice."""

from dataclasses import fields

from calibration.points import Point, Reading

FIGURES = tuple(field.name for field in fields(Point) if field.name == "output_tps" or "_ms_" in field.name)
PRINTED_TO = 0.0051  # of figures with two decimals


def joined(readings: list[Reading]) -> Reading:
    """One reading out of those of each format."""
    if len(readings) == 1:
        return readings[0]
    points, twice = _each_once(readings)
    again = [f"{twice} of its runs stand there in two formats: each counts once"] if twice else []
    return Reading(
        format=" + ".join(reading.format for reading in readings),
        points=tuple(points),
        rejected=tuple(refusal for reading in readings for refusal in reading.rejected),
        facts={name: value for reading in readings for name, value in reading.facts.items()},
        warnings=(*(warning for reading in readings for warning in reading.warnings), *again),
    )


def _each_once(readings: list[Reading]) -> tuple[list[Point], int]:
    """The points of all formats without those that an earlier one has, and how many these were."""
    points: list[Point] = []
    for reading in readings:
        points += [point for point in reading.points if not any(_is_same_run(point, other) for other in points)]
    return points, sum(len(reading.points) for reading in readings) - len(points)


def _is_same_run(one: Point, other: Point) -> bool:
    """Whether two formats tell of one run: what both of them state agrees to the digits that are printed."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in FIGURES]
    stated = [abs(mine - theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return one.load == other.load and len(stated) > 2 and max(stated) <= PRINTED_TO
