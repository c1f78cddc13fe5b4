"""Named workloads: prompt and output lengths as measured somewhere, with where and by whom."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from sim.errors import UnknownName
from sim.naming import fold
from workloads.distributions import Quantiles


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of use, its lengths and how bursty its arrivals were (cv of the gaps)."""

    name: str
    about: str
    confidence: str
    prompt: Quantiles
    output: Quantiles
    arrivals_cv: float
    source: str
    licence: str


def preset_names() -> list[str]:
    """Every workload that `preset` knows."""
    found = (files("workloads") / "presets").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml"))


def preset(name: str) -> Preset:
    """The workload of that name; case, dots, dashes and underscores do not matter."""
    known = {fold(known): known for known in preset_names()}
    if fold(name) not in known:
        raise UnknownName("workload", name, list(known.values()))
    stored = known[fold(name)]
    text = (files("workloads") / "presets" / f"{stored}.toml").read_text(encoding="utf-8")
    return _from_table(stored, tomllib.loads(text))


def _from_table(name: str, table: dict[str, Any]) -> Preset:
    source = table["source"]
    return Preset(
        name=name,
        about=table["about"],
        confidence=table["confidence"],
        prompt=_quantiles(table["prompt"]),
        output=_quantiles(table["output"]),
        arrivals_cv=float(table["arrivals"]["cv"]),
        source=f"{source['repository']} {source['path']} at {source['commit'][:10]}",
        licence=source["licence"],
    )


def _quantiles(table: dict[str, list[float]]) -> Quantiles:
    return Quantiles(tuple(map(float, table["percent"])), tuple(map(float, table["tokens"])))
