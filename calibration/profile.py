"""What kernels reach of a data sheet: coefficients by scope, the origin of each, and how far their times may be off."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import exp, log
from pathlib import Path
from typing import Any

from calibration.eras import ANY, APART
from calibration.scopes import COEFFICIENTS, HOST, MIXED, TABLES, Family, measurable, own, paths, stairs, standard_link
from calibration.terms import Kernels
from sim.errors import BadScenario, NotSupported

FORMAT = 4
BUILT_IN = ("measured", "datasheet")
HOST_RATES = ("ram_efficiency", "cpu_efficiency", "crossing_us")
# A share above 1 only says that the data sheet understates the part; far above, somebody entered per cent.
MOST_EFFICIENT = 1.5

# What is taken where no measurement tells it apart: launches hold the host's work, and prompts disturb nobody.
UNTOLD = {**dict.fromkeys((*HOST, *TABLES), 0.0), **dict.fromkeys(MIXED, 1.0)}

Steps = tuple[tuple[float, float], ...]  # rows, and the measured time of a step of them over the formula's


@dataclass(frozen=True, slots=True)
class HostRates:
    """What layers that spilled to the host get of it."""

    ram_efficiency: float  # of the DRAM bandwidth, reading weights, keys and values
    cpu_efficiency: float  # of the CPU's dense rate
    crossing_us: float  # one hand-over of activations between host and GPU


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of coefficients: what turns an engine's facts into times."""

    name: str
    trust: str  # measured, or datasheet where no fit is behind it
    coefficients: Mapping[str, Mapping[str, float]]  # by name and scope; the product along a path counts
    host: HostRates
    sources: Mapping[str, str]  # coefficient and scope -> where it comes from
    staircases: Mapping[str, Steps] = field(default_factory=dict)  # by scope, the model's own last
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)  # kernels/gpu -> what was measured on it
    bands: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)  # kernels/trust -> metric
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # in and out of sample, as fractions

    def kernels(self, family: Family) -> Kernels:
        """The coefficients for these kernels on this memory."""
        return Kernels(**{name: self._coefficient(name, family) for name in COEFFICIENTS})

    def _coefficient(self, name: str, family: Family) -> float:
        """The product along the path, which has to be known as far as the kernels themselves.

        Of what no measurement of others tells, one's own machine has the value itself and not a correction of it.
        """
        known = self.coefficients[name]
        parts = [known[path] for path in paths(name, family) if path in known]
        beside = [known[path] for path in own(name, family) if path in known]
        if not parts and family.era in APART:
            return self._coefficient(name, family._replace(era=ANY))
        if not parts and name in UNTOLD:
            return math.prod(beside) if beside else UNTOLD[name]
        if not parts:
            raise NotSupported(
                f"profile '{self.name}' has no {name} for {family.kernels} kernels on {family.memory_class} memory; "
                f"it has {', '.join(sorted(known))}"
            )
        return math.prod((*parts, *beside))

    def staircase(self, family: Family, model: str) -> Steps:
        """What steps of so many rows take, over the formula's time: the product of the curves along the path."""
        curves = [self.staircases[scope] for scope in stairs(family, model) if scope in self.staircases]
        nodes = sorted({rows for curve in curves for rows, _ in curve})
        return tuple((rows, math.prod(at(curve, rows) for curve in curves)) for rows in nodes)

    def trust_in(self, family: Family, model: str) -> str:
        """How near to the measurements behind the profile these kernels are, with this model."""
        if self.trust == "datasheet":
            return self.trust
        if measurable(family, model) in self.seen.get(card(family), ()):
            return "measured"
        return "interpolated" if self.knows_card(family) and standard_link(family) else "extrapolated"

    def knows_card(self, family: Family) -> bool:
        """Whether anything was measured with these kernels on this card."""
        return card(family) in self.seen

    def band(self, kernels: str, trust: str, metric: str) -> tuple[float, float]:
        """Factors on a prediction between which four measurements of five lie; both 1 where that is not known."""
        return self.bands.get(band_label(kernels, trust), {}).get(metric, (1.0, 1.0))


def card(family: Family) -> str:
    """What is measured on a card with an engine's kernels is kept under."""
    return f"{family.kernels}/{family.gpu}"


def band_label(kernels: str, trust: str) -> str:
    """What bands of an engine's kernels are kept under."""
    return f"{kernels}/{trust}"


def at(curve: Steps, rows: float) -> float:
    """The curve at so many rows: straight between its nodes over the logarithm of rows, level beyond them."""
    below = max((node for node in curve if node[0] <= rows), default=curve[0])
    above = min((node for node in curve if node[0] >= rows), default=curve[-1])
    if above[0] == below[0]:
        return below[1]
    share = log(rows / below[0]) / log(above[0] / below[0])
    return exp((1 - share) * log(below[1]) + share * log(above[1]))


def load(name: str | Path) -> Profile:
    """The profile of that name, or the one in a JSON file."""
    if str(name) in BUILT_IN:
        return _built_in(str(name))
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"profile {name}: cannot be read ({error}); built in: {', '.join(BUILT_IN)}") from None
    return parse(text, str(name))


@cache
def _built_in(name: str) -> Profile:
    return parse(files("calibration").joinpath("profiles", f"{name}.json").read_text(encoding="utf-8"), name)


def parse(text: str, where: str) -> Profile:
    """The profile that a JSON text holds; every complaint names the place."""
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise BadScenario(f"profile {where}: holds no object; `simctl calibrate` writes profiles")
        if raw["format"] != FORMAT:
            raise BadScenario(f"profile {where}: format {raw['format']!r}, this version reads {FORMAT}: calibrate anew")
        return _profile(raw, f"profile {where}")
    except (ValueError, TypeError, AttributeError) as error:
        raise BadScenario(f"profile {where}: cannot be read ({error})") from None
    except KeyError as error:
        raise BadScenario(f"profile {where}: {error} is missing") from None


def _profile(raw: Mapping[str, Any], where: str) -> Profile:
    sources: dict[str, str] = {}
    given = {**{name: {} for name in TABLES}, **raw["coefficients"]}  # older profiles do not have those
    if unknown := sorted(set(given) - set(COEFFICIENTS)):
        raise BadScenario(f"{where}: unknown coefficient {', '.join(unknown)}")
    coefficients = {name: _values(name, given[name], where, sources) for name in COEFFICIENTS}
    rates = _values("host", {name: raw["host"][name] for name in HOST_RATES}, where, sources)
    staircases = {scope: _steps(scope, curve, where) for scope, curve in raw.get("staircases", {}).items()}
    seen = {place: frozenset(models) for place, models in raw.get("seen", {}).items()}
    bands = {
        trust: {metric: (float(low), float(high)) for metric, (low, high) in factors.items()}
        for trust, factors in raw.get("bands", {}).items()
    }
    found = (coefficients, HostRates(**rates), sources, staircases, seen, bands, raw.get("errors", {}))
    return Profile(raw["name"], raw["trust"], *found)


def _values(name: str, raw: Mapping[str, Any], where: str, sources: dict[str, str]) -> dict[str, float]:
    """The parts of a coefficient by scope, checked; the source of each is noted."""
    values = {}
    for scope, part in raw.items():
        place = f"{where}: {name}/{scope}"
        if not part.get("source"):
            raise BadScenario(f"{place}: a coefficient must say its source")
        values[scope] = _checked(part.get("value"), f"{name}/{scope}", place)
        sources[f"{name}/{scope}"] = str(part["source"])
    return values


def _checked(value: object, name: str, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadScenario(f"{place}: {value!r} is not a finite number of 0 or more")
    if "_efficiency" in name and not 0 < value <= MOST_EFFICIENT * 2:
        raise BadScenario(f"{place}: {value!r} is not a share or a correction of one")
    return float(value)


def _steps(scope: str, raw: Mapping[str, Any], where: str) -> Steps:
    """A curve's nodes, ascending."""
    nodes = sorted((float(rows), float(factor)) for rows, factor in raw.items())
    if not nodes or any(not (math.isfinite(f) and f > 0 and rows >= 1) for rows, f in nodes):
        raise BadScenario(f"{where}: staircases/{scope}: not a table of rows and factors above 0")
    return tuple(nodes)
