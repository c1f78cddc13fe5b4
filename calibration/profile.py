"""What a family of kernels reaches of a data sheet, with the origin of every coefficient."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from sim.engine import Traits
from sim.errors import BadScenario, NotSupported
from sim.hardware import Gpu

FORMAT = 1
BUILT_IN = ("datasheet",)
ROOFLINES = ("max", "sum")
# A share above 1 only says that the data sheet understates the part; far above, somebody entered per cent.
MOST_EFFICIENT = 1.5


@dataclass(frozen=True, slots=True)
class Kernels:
    """One family of kernels on one class of memory. Efficiencies are shares of the data sheet's rate."""

    weights_efficiency: float  # of the bandwidth, reading weights
    kv_efficiency: float  # of the bandwidth, reading keys and values
    decode_flops_efficiency: float  # of the dense rate, in the matrix products of decode rows
    prompt_flops_efficiency: float  # the same for prompt rows, which come by the hundred
    attention_flops_efficiency: float  # of the dense rate, in the attention of prompts
    launch_us: float  # of every pass, whatever is in it
    layer_us: float  # of every layer in every pass
    row_us: float  # of every sequence that gets a token
    host_step_us: float  # deciding a step and reading its results, on the CPU
    host_row_us: float  # the same for every sequence that gets a token
    all_reduce_us: float  # one all-reduce of a small message between GPUs


@dataclass(frozen=True, slots=True)
class HostRates:
    """What layers that spilled to the host get of it."""

    ram_efficiency: float  # of the DRAM bandwidth, reading weights, keys and values
    cpu_efficiency: float  # of the CPU's dense rate
    crossing_us: float  # one hand-over of activations between host and GPU


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Kernels and how their memory and arithmetic times combine: the larger one (max) or both (sum)."""

    kernels: Kernels
    roofline: str
    version: str  # which release the figures stand for


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of coefficients: what turns an engine's facts into times."""

    name: str
    trust: str
    rows: Mapping[tuple[str, str], KernelRow]  # by kernel family and memory class
    host: HostRates
    sources: Mapping[str, str]  # coefficient, as "vllm/hbm/layer_us", -> where it comes from

    def row(self, traits: Traits, gpu: Gpu) -> KernelRow:
        """The row for a deployment's kernels on this GPU's memory."""
        found = self.rows.get((traits.kernels, gpu.memory_class))
        if found is None:
            known = ", ".join(f"{family} on {memory}" for family, memory in sorted(self.rows))
            raise NotSupported(
                f"profile '{self.name}' has no row for {traits.kernels} kernels on {gpu.memory_class} memory; "
                f"it has {known}"
            )
        return found


def load(name: str | Path) -> Profile:
    """The profile of that name, or the one in a JSON file."""
    if str(name) in BUILT_IN:
        text = files("calibration").joinpath("profiles", f"{name}.json").read_text(encoding="utf-8")
        return parse(text, str(name))
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"profile {name}: cannot be read ({error}); built in: {', '.join(BUILT_IN)}") from None
    return parse(text, str(name))


def parse(text: str, where: str) -> Profile:
    """The profile that a JSON text holds; every complaint names the place."""
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise BadScenario(f"profile {where}: format {raw['format']!r}, this version reads {FORMAT}")
        sources: dict[str, str] = {}
        rows = {}
        for entry in raw["kernels"]:
            key = (entry["kernels"], entry["memory_class"])
            place = "/".join(key)
            if entry["roofline"] not in ROOFLINES:
                raise BadScenario(f"profile {where}: {place}: roofline is {entry['roofline']!r}, not max or sum")
            kernels = Kernels(**_coefficients(Kernels, entry["coefficients"], place, where, sources))
            rows[key] = KernelRow(kernels, entry["roofline"], entry["version"])
        host = HostRates(**_coefficients(HostRates, raw["host"], "host", where, sources))
        return Profile(raw["name"], raw["trust"], rows, host, sources)
    except (ValueError, TypeError, AttributeError) as error:
        raise BadScenario(f"profile {where}: cannot be read ({error})") from None
    except KeyError as error:
        raise BadScenario(f"profile {where}: {error} is missing") from None


def _coefficients(
    kind: type, raw: Mapping[str, Any], place: str, where: str, sources: dict[str, str]
) -> dict[str, float]:
    """Every coefficient of a row, checked; its source is noted."""
    names = [field.name for field in fields(kind)]
    if unknown := sorted(set(raw) - set(names)):
        raise BadScenario(f"profile {where}: {place}: unknown coefficient {', '.join(unknown)}")
    values = {}
    for name in names:
        if name not in raw:
            raise BadScenario(f"profile {where}: {place}: coefficient {name} is missing")
        value, source = raw[name].get("value"), raw[name].get("source")
        if not source:
            raise BadScenario(f"profile {where}: {place}/{name}: a coefficient must say its source")
        values[name] = _checked(value, name, f"profile {where}: {place}/{name}")
        sources[f"{place}/{name}"] = str(source)
    return values


def _checked(value: object, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadScenario(f"{where}: {value!r} is not a finite number of 0 or more")
    if name.endswith("_efficiency") and not 0 < value <= MOST_EFFICIENT:
        raise BadScenario(f"{where}: {value!r} is not a share between 0 and {MOST_EFFICIENT}")
    return float(value)
