"""What `simctl calibrate` does: read, fit, check against what the fit had not seen, write, tell."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from calibration import profile_file, sources
from calibration.fit import Fit, fitted
from calibration.fitting.bands import Miss, bands, misses, no_surer_than_rates, of_servers
from calibration.fitting.uncertainty import bootstrap
from calibration.points import Reading
from calibration.profile import load
from calibration.reading import read
from sim.cli.calibration_account import account
from sim.cli.own_loads import Loads, with_loads
from sim.cli.writing import Output, write
from sim.cli.writing import check as check_places
from sim.errors import BadScenario

COLUMNS = {
    "engine": "engine",
    "gpu": "gpu",
    "gpus": "gpu_count",
    "model": "model",
    "weights": "weights",
    "engine_version": "engine_version",
    "slots": "slots",
    "context": "context",
}
DEFAULT_CHECKS = ("row", "source")
DEFAULT_RESAMPLES = 20
CHECKED = "bands from predictions of what fits had not seen"
AS_SHIPPED = "bands of the shipped profile"
ENOUGH_TO_CHECK = 20  # points; of fewer that are left out by turns a band would be chance

Say = Callable[[str], None]


def calibrate(flags: Mapping[str, Any]) -> None:
    """The whole of it."""
    say: Say = (lambda _: None) if flags["quiet"] else (lambda text: click.echo(text, err=True))
    given = {column: flags[flag] for flag, column in COLUMNS.items() if flags[flag]}
    if flags["gpus"]:
        given["engine_options"] = f"tensor_parallel_size={flags['gpus']}"  # which is what several cards are here
    output: Path = flags["output"]
    place = [Output("json", output)]
    check_places(place)
    readings = {path: read(path, given) for path in flags["files"]}
    tell_readings(readings, say)
    read_points = [point for reading in readings.values() for point in reading.points]
    points = read_points if flags["alone"] else [*sources.fitted_points(), *read_points]
    if not points:
        raise BadScenario("no measurement to fit: name files, or leave --alone out")
    say(f"fitting {len(points):,} points")
    fit = fitted(points, flags["name"] or output.stem)
    fit, loads = with_loads(fit, read_points, say)
    own = {point.source_id for point in read_points}
    refuse_unheeded(fit, loads, readings.values(), own)
    a_few = len(points) < ENOUGH_TO_CHECK or (bool(flags["files"]) and not flags["alone"])
    checks, draws = ((), 0) if a_few else (DEFAULT_CHECKS, DEFAULT_RESAMPLES)
    checked = check(fit, flags["check"] or checks, say)
    resamples = draws if flags["resamples"] is None else flags["resamples"]
    inputs = [*origin(fit, flags["alone"]), *(digest(path, len(r.points)) for path, r in readings.items())]
    document = profile_file.document(
        fit, about(checked), factors(checked, flags["bands_from"]), spread(fit, resamples, say), checked, inputs
    )
    write(document, place, {"json": profile_file.text})
    click.echo(account(fit, loads, checked, own))
    click.echo(f"wrote {output}: use it with --profile {output}; {CHECKED if checked else AS_SHIPPED}")


def refuse_unheeded(fit: Fit, loads: Loads, readings: Collection[Reading], own: Collection[str]) -> None:
    """Files of which nothing can be used make no profile of one's own."""
    if not readings or loads.cases or any(one.point.source_id in own for one in fit.observations):
        return
    reasons = [why for point, why in fit.unusable if point.source_id in own]
    reasons += [str(refusal) for reading in readings for refusal in reading.rejected]
    first = f"; the first reason: {reasons[0]}" if reasons else ": no measurement stands in them"
    raise BadScenario(f"nothing in these files tells the time of a step{first}")


def about(checked: Sequence[Miss]) -> str:
    """How the profile came about."""
    return f"Fitted by least squares on logarithms of times; {CHECKED if checked else AS_SHIPPED}."


def factors(checked: Sequence[Miss], servers: Iterable[Path]) -> dict[str, dict[str, tuple[float, float]]]:
    """The bands: from the checks, or where there are none those that are shipped; and of whole servers."""
    found = bands(checked) if checked else {label: dict(of) for label, of in load("measured").bands.items()}
    for label, wider in of_servers(held_out_rows(servers)).items():
        found[label] = no_surer_than_rates(found[label] | wider) if label in found else wider
    return found


def spread(fit: Fit, resamples: int, say: Say) -> profile_file.Spread:
    """How far each coefficient moves with the sources."""
    if not resamples:
        return {}
    say(f"drawing sources {resamples} times")
    return bootstrap(fit.observations, resamples)


def origin(fit: Fit, alone: bool) -> list[dict[str, Any]]:
    """The committed sources behind the fit, with the digest of their rows."""
    if alone:
        return []
    used = sorted({one.point.source_id for one in fit.observations} & set(sources.sources()))
    return [{"source": name, "sha256": sources.digest(name), "points": len(sources.load(name))} for name in used]


def digest(path: Path, points: int) -> dict[str, Any]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "points": points}


def held_out_rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Predictions of servers that their fits had not seen, from results of `simctl validate`."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["rows"]
            rows += [row for row in found if row["held_out"] is not None]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadScenario(f"{path}: not a result of simctl validate -o json: {error!r}") from None
    return rows


def tell_readings(readings: Mapping[Path, Reading], say: Say) -> None:
    """What was read, what was refused, and what the figures do not mean."""
    for path, reading in readings.items():
        say(f"{path}: {reading.format}, {len(reading.points)} points, {len(reading.rejected)} rejected")
        for line in (*map(str, reading.rejected), *reading.warnings):
            say(f"  {line}")


def check(fit: Fit, ways: Iterable[str], say: Say) -> list[Miss]:
    """Predictions of every observation by fits that lack it in each of these ways."""
    found: list[Miss] = []
    for way in ways:
        say(f"checking: fits without one {way} at a time")
        found += misses(fit.observations, way)
    return found
