"""A profile as the JSON that `profile.load` reads: coefficients with their spread and origin, bands, errors, inputs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from calibration.fit import Fit
from calibration.fitting.bands import Miss
from calibration.fitting.error_sizes import sizes_of_logarithms
from calibration.profile import FORMAT, HOST_RATES, load

DIGITS = 10
Spread = Mapping[str, Mapping[str, tuple[float, float]]]


def document(
    fit: Fit,
    about: str,
    bands: Mapping[str, Mapping[str, tuple[float, float]]],
    spread: Spread,
    misses: Sequence[Miss],
    inputs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """All that the file says."""
    profile, basis = fit.profile, load("datasheet")
    host = {name: (getattr(profile.host, name), basis.sources[f"host/{name}"]) for name in HOST_RATES}
    return {
        "format": FORMAT,
        "name": profile.name,
        "trust": profile.trust,
        "about": about,
        "inputs": list(inputs),
        "errors": {"in_sample": summary(fit.errors), **held_out(misses)},
        "bands": {label: {name: rounded(pair) for name, pair in of.items()} for label, of in bands.items()},
        "coefficients": {
            name: {path: _part(fit, spread, name, path) for path in parts}
            for name, parts in profile.coefficients.items()
        },
        "host": {name: {"value": value, "source": source} for name, (value, source) in host.items()},
        "staircases": {
            scope: {f"{rows:g}": round(factor, DIGITS) for rows, factor in curve}
            for scope, curve in profile.staircases.items()
        },
        "seen": {place: sorted(models) for place, models in sorted(profile.seen.items())},
    }


def _part(fit: Fit, spread: Spread, name: str, path: str) -> dict[str, Any]:
    part: dict[str, Any] = {"value": round(fit.profile.coefficients[name][path], DIGITS)}
    if path in spread.get(name, {}):
        part["low"], part["high"] = rounded(spread[name][path])
    return part | {"source": fit.profile.sources[f"{name}/{path}"]}


def held_out(misses: Sequence[Miss]) -> dict[str, Any]:
    """Errors of predictions of what the fit had not seen, by what was left out."""
    ways = list(dict.fromkeys(miss.held_out for miss in misses))
    return {f"without_{way}": summary([miss.error for miss in misses if miss.held_out == way]) for way in ways}


def summary(errors: Sequence[float]) -> dict[str, float]:
    """Sizes of relative errors, as fractions."""
    off = sizes_of_logarithms(errors)
    return {"n": len(errors), "median_abs_error": round(off.median, 4), "p90_abs_error": round(off.p90, 4)}


def rounded(pair: tuple[float, float]) -> list[float]:
    return [round(pair[0], 4), round(pair[1], 4)]


def text(content: Mapping[str, Any]) -> str:
    """The document as it is written to a file."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
