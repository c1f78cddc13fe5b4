"""`--fail-if`: a sentence about the results, read from what was typed."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.errors import UnknownName, UsageError
from sim.judging import TARGET
from workloads.units import parse_duration, parse_number

OF_CLIFFS = {"capacity": "capacity_users", "low": "low", "high": "high", "people": "people"}
LATENCIES = ("ttft", "tpot", "itl", "stall", "e2e")
FIGURES = ("mean", "p50", "p90", "p95", "p99")
OF_POINTS = {f"{name}_{figure}": (f"{name}_ms", figure) for name in LATENCIES for figure in FIGURES}
SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a figure: it lies between these two, which are the same where it was measured."""

    least: float
    most: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure, and what it must not be."""

    text: str
    name: str
    sign: str
    bound: float

    def holds(self, known: Known) -> bool | None:
        """Whether the figure is as it must not be; None where what is known of it does not say."""
        ends = {SIGNS[self.sign](value, self.bound) for value in (known.least, known.most)}
        return ends.pop() if len(ends) == 1 else None


def parse_conditions(texts: Sequence[str], *, refines: bool) -> list[Condition]:
    """`capacity<50`, `ttft_p99>500ms`, `attainment<0.99`, `slo`. Figures of loads need loads that are listed."""
    conditions = [_parse(text) for text in texts]
    for condition in conditions:
        if refines and condition.name not in OF_CLIFFS:
            raise UsageError(f"--fail-if {condition.text} needs the loads it is about: list them, as --users 32")
    return conditions


def _parse(text: str) -> Condition:
    if text.strip().lower() == "slo":
        return Condition(text, "attainment", "<", TARGET)
    parts = re.fullmatch(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>)\s*(\S+)\s*", text.lower())
    known = [*OF_CLIFFS, "attainment", "output_tps", *OF_POINTS]
    if parts is None:
        raise UsageError(f"--fail-if '{text}' is not written as capacity<50, ttft_p99>500ms or slo")
    name, sign, bound = parts.groups()
    if name not in known:
        raise UnknownName("figure", name, known)
    duration = name in OF_POINTS
    return Condition(text, name, sign, parse_duration(bound, name) if duration else parse_number(bound, name))
