"""What `simctl calibrate` does: read, fit, check against what the fit had not seen, write, tell."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from calibration import profile_file, sources
from calibration.bands import Miss, bands, misses, of_servers
from calibration.error_sizes import sizes_of_logarithms
from calibration.fit import Fit, fitted
from calibration.points import Reading
from calibration.reading import read
from calibration.uncertainty import bootstrap
from reports.tables import Table, aligned
from sim.errors import BadScenario

COLUMNS = {
    "engine": "engine",
    "gpu": "gpu",
    "gpus": "gpu_count",
    "model": "model",
    "weights": "weights",
    "engine_version": "engine_version",
}
DEFAULT_CHECKS = ("row", "source")
SHOWN = 8

Say = Callable[[str], None]


def calibrate(flags: Mapping[str, Any]) -> None:
    """The whole of it."""
    say: Say = (lambda _: None) if flags["quiet"] else (lambda text: click.echo(text, err=True))
    given = {column: flags[flag] for flag, column in COLUMNS.items() if flags[flag]}
    readings = {path: read(path, given) for path in flags["files"]}
    tell_readings(readings, say)
    points = [point for reading in readings.values() for point in reading.points]
    if not flags["alone"]:
        points = [*sources.fitted_points(), *points]
    if not points:
        raise BadScenario("no measurement to fit: name files, or leave --alone out")
    output: Path = flags["output"]
    say(f"fitting {len(points):,} points")
    fit = fitted(points, flags["name"] or output.stem)
    checked = check(fit, flags["check"] or DEFAULT_CHECKS, say)
    say(f"drawing sources {flags['resamples']} times")
    spread = bootstrap(fit.observations, flags["resamples"]) if flags["resamples"] else {}
    about = "Fitted by least squares on logarithms of times; bands from predictions of what fits had not seen."
    inputs = [*origin(fit, flags["alone"]), *(digest(path, len(r.points)) for path, r in readings.items())]
    factors = bands(checked)
    for label, wider in of_servers(held_out_rows(flags["bands_from"])).items():
        factors[label] = factors.get(label, {}) | wider
    profile_file.write(output, profile_file.document(fit, about, factors, spread, checked, inputs))
    click.echo(account(fit, checked), nl=False)
    click.echo(f"wrote {output}: use it with --profile {output}")


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


# -- the account


def account(fit: Fit, checked: Sequence[Miss]) -> str:
    """Errors by source, the points that pulled the most, and what could not be used."""
    parts = [aligned(errors_table(fit, checked)), aligned(pulls_table(fit))]
    if fit.unusable:
        parts.append(aligned(unusable_table(fit)))
    return "\n\n".join(parts) + "\n\n"


def errors_table(fit: Fit, checked: Sequence[Miss]) -> Table:
    ways = list(dict.fromkeys(miss.held_out for miss in checked))
    header = ("source", "points", "in sample", *(f"without {way}" for way in ways))
    rows = []
    for source in sorted({one.point.source_id for one in fit.observations}):
        own = [off for one, off in zip(fit.observations, fit.errors, strict=True) if one.point.source_id == source]
        lines = [own, *(missed(checked, way, source) for way in ways)]
        rows.append((source, f"{len(own):,}", *(sizes(errors) for errors in lines)))
    return Table("Errors of times, median / 90th percentile", header, tuple(rows))


def missed(checked: Sequence[Miss], way: str, source: str) -> list[float]:
    """Errors of a source's points that were held out in this way."""
    return [miss.error for miss in checked if miss.held_out == way and miss.observation.point.source_id == source]


def sizes(errors: Sequence[float]) -> str:
    if not errors:
        return "-"
    off = sizes_of_logarithms(errors)
    return f"{100 * off.median:.1f}% / {100 * off.p90:.0f}%"


def pulls_table(fit: Fit) -> Table:
    """The points that the profile meets least: they pulled it towards themselves, or are wrong."""
    order = np.argsort(-np.abs(np.asarray(fit.errors)))[:SHOWN]
    rows = []
    for index in order:
        point, off = fit.observations[index].point, fit.errors[index]
        what = f"{point.engine} {point.model} {point.weights}".strip()
        rows.append((point.source_id, point.gpu, what, f"{point.load}:{point.load_value:g}", f"{np.expm1(off):+.0%}"))
    return Table("Points that are met least", ("source", "gpu", "what", "load", "predicted is"), tuple(rows))


def unusable_table(fit: Fit) -> Table:
    counts: dict[tuple[str, str], int] = {}
    for point, reason in fit.unusable:
        key = (point.source_id, reason if len(reason) < 70 else reason[:67] + "...")
        counts[key] = counts.get(key, 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN]
    rows = tuple((source, f"{count:,}", reason) for (source, reason), count in most)
    return Table("Points that say nothing of a step's time, or that physics refuses", ("source", "points", "why"), rows)
