"""What is moved to see how far the capacity follows: one parameter of a scenario, everything else as it was."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sim import compose
from sim.cli.study import Study
from sim.cli.variants import Prepared
from sim.compose import Traffic
from sim.engine import Deployment
from sim.errors import DoesNotFit, SimctlError
from sim.hardware import GIB
from sim.variant import Variant
from workloads.lengths import Lengths
from workloads.scaled import Scaled
from workloads.think import ExponentialThink, FixedThink, Think

LENGTH_FACTORS = (0.5, 1.0, 2.0, 4.0)
PAUSES_S = (0.0, 10.0, 20.0, 60.0)
MEMORY_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Shift:
    """A parameter at one value: the variant and the traffic that this makes; no deployment where it does not fit."""

    parameter: str
    value: float
    unit: str
    variant: Variant
    deployment: Deployment | None
    traffic: Traffic
    as_asked: bool  # the value that the scenario itself has

    @property
    def label(self) -> str:
        """What its runs are called."""
        return f"{self.variant.id} with {self.parameter} {self.value:g}"


def shifts(study: Study, row: Prepared) -> dict[str, list[Shift]]:
    """Every parameter's values; of a variant that does not fit only other memories, for they may be what it lacks."""
    if row.deployment is None:
        return {"vram": list(_memories(study, row))} if isinstance(row.error, DoesNotFit) else {}
    parameters = {name: list(values(study, row)) for name, values in PARAMETERS.items()}
    if study.traffic.load(study.grid.users[0]).kind != "closed":
        del parameters["think"]
    return parameters


def _prompts(study: Study, row: Prepared) -> Iterator[Shift]:
    for factor, lengths in _scaled(study.traffic.prompt):
        traffic = replace(study.traffic, prompt=lengths)
        yield _shift("prompt-tokens", float(round(lengths.mean)), "tokens", row, traffic, as_asked=factor == 1)


def _outputs(study: Study, row: Prepared) -> Iterator[Shift]:
    for factor, lengths in _scaled(study.traffic.output):
        traffic = replace(study.traffic, output=lengths)
        yield _shift("output-tokens", float(round(lengths.mean)), "tokens", row, traffic, as_asked=factor == 1)


def _scaled(lengths: Lengths) -> Iterator[tuple[float, Lengths]]:
    for factor in LENGTH_FACTORS:
        if factor * lengths.mean >= 1:
            yield factor, lengths if factor == 1 else Scaled(lengths, factor)


def _pauses(study: Study, row: Prepared) -> Iterator[Shift]:
    asked = study.traffic.think
    for pause_s in sorted({*PAUSES_S, asked.mean_s}):
        think = asked if pause_s == asked.mean_s else _pause(pause_s, asked)
        yield _shift("think", pause_s, "s", row, replace(study.traffic, think=think), as_asked=think is asked)


def _pause(mean_s: float, like: Think) -> Think:
    """Pauses that are all the same only where the scenario has such: people do not pause in step."""
    if mean_s == 0 or (isinstance(like, FixedThink) and like.mean_s > 0):
        return FixedThink(mean_s)
    return ExponentialThink(mean_s)


def _memories(study: Study, row: Prepared) -> Iterator[Shift]:
    card_bytes = compose.machine(row.variant)[0].memory_bytes
    for factor in MEMORY_FACTORS:
        as_asked = factor == 1
        other = row if as_asked else _deployed(replace(row.variant, vram_bytes=round(factor * card_bytes)))
        value = round(factor * card_bytes / GIB, 2)
        yield _shift("vram", value, "GiB", other, study.traffic, as_asked=as_asked)


def _deployed(variant: Variant) -> Prepared:
    try:
        return Prepared(variant, compose.deploy(variant))
    except SimctlError as error:
        return Prepared(variant, None, error)


def _shift(parameter: str, value: float, unit: str, row: Prepared, traffic: Traffic, *, as_asked: bool) -> Shift:
    return Shift(parameter, value, unit, row.variant, row.deployment, traffic, as_asked)


PARAMETERS: dict[str, Callable[[Study, Prepared], Iterator[Shift]]] = {
    "prompt-tokens": _prompts,
    "output-tokens": _outputs,
    "think": _pauses,
    "vram": _memories,
}
