"""`--vary KEY=a,b,c`: every combination of the values, each as the flags of a study of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from sim import compose
from sim.cli.flags import DECLARED, Flags, typed
from sim.cli.study import SCENARIO_FLAGS
from sim.errors import UnknownName, UsageError

# What the variants are measured with: it has to be the same for all of them.
YARDSTICK = ("slo", "users", "load", "seeds", "seed", "requests")
SPEAKING = ("gpu", "engine", "model", "weights", "workload", "scheduler", "host", "router")  # without their key
MOST_COMBINATIONS = 64

Setting = Mapping[str, str]  # the value of every varied key


@dataclass(frozen=True, slots=True)
class Axis:
    """A key and the values it takes; keys are flags or options of an engine, with dashes."""

    key: str
    values: tuple[str, ...]

    @property
    def flag(self) -> str | None:
        """The flag that the key means, if it is not an engine's option."""
        return next((name for name in DECLARED if compose.fold(name) == compose.fold(self.key)), None)


def parse_axes(texts: Sequence[str]) -> list[Axis]:
    """Values are parted by commas, or by semicolons where they hold commas themselves."""
    axes = [_parse(text) for text in texts]
    keys = [compose.fold(axis.key) for axis in axes]
    if not axes:
        raise UsageError("nothing to compare: write --vary KEY=a,b, as --vary gpu=a100-40g,h100")
    if repeated := [axis.key for axis in axes if keys.count(compose.fold(axis.key)) > 1]:
        raise UsageError(f"--vary names {repeated[0]} twice: write all its values at once, as {repeated[0]}=a,b,c")
    return axes


def _parse(text: str) -> Axis:
    key, equals, rest = text.partition("=")
    values = [value.strip() for value in rest.split(";" if ";" in rest else ",")]
    if not equals or not key.strip() or not all(values):
        raise UsageError(f"--vary '{text}' is not written as KEY=a,b,c")
    if len(set(values)) < len(values):
        raise UsageError(f"--vary '{text}' names a value twice")
    axis = Axis(key.strip().lstrip("-").replace("_", "-"), tuple(values))
    name = axis.flag
    if name in YARDSTICK:
        raise UsageError(f"--vary {axis.key} would measure each variant with a yardstick of its own: give --{axis.key}")
    if name is not None and name not in SCENARIO_FLAGS:
        raise UnknownName("key to vary", axis.key, [flag.replace("_", "-") for flag in SCENARIO_FLAGS])
    return axis


def settings(axes: Sequence[Axis]) -> list[Setting]:
    """Every combination, the last key changing fastest."""
    combinations = list(product(*(axis.values for axis in axes)))
    if len(combinations) > MOST_COMBINATIONS:
        raise UsageError(f"--vary asks for {len(combinations)} combinations: at most {MOST_COMBINATIONS} are compared")
    return [dict(zip((axis.key for axis in axes), values, strict=True)) for values in combinations]


def applied(flags: Flags, axes: Sequence[Axis], setting: Setting) -> Flags:
    """The flags of one combination."""
    changes: dict[str, Any] = {}
    options = list(flags.engine_options)
    for axis in axes:
        value = setting[axis.key]
        if axis.flag is None:
            options.append((axis.key, value))
        else:
            changes[axis.flag] = typed(axis.flag, value, f"--vary {axis.flag.replace('_', '-')}")
    return replace(flags, **changes, engine_options=tuple(options))


def words(setting: Setting) -> Iterator[str]:
    """What tells a combination from the others, in as few words as can be understood."""
    for key, value in setting.items():
        yield value if key.replace("-", "_") in SPEAKING else f"{key}={value}"
