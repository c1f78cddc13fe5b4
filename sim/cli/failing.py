"""`--fail-if`: a sentence about the results that turns the exit code into 99, for the sake of CI."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from reports.document import Document, Point
from sim.errors import UnknownName, UsageError
from sim.judging import TARGET
from workloads.units import parse_duration, parse_number

MISSED = 99
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
MS = 1000


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure, and what it must not be."""

    text: str
    name: str
    sign: str
    bound: float

    def holds(self, value: float | None) -> bool:
        """Whether the results are as they must not be; what was not found is no capacity and no latency."""
        return value is not None and SIGNS[self.sign](value, self.bound)


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


def missed(document: Document, conditions: Sequence[Condition]) -> list[str]:
    """A line for every variant or load that is as it must not be."""
    return [line for condition in conditions for line in _missed(document, condition)]


def _missed(document: Document, condition: Condition) -> list[str]:
    found: list[tuple[str, float | None]]
    if condition.name in OF_CLIFFS:
        found = [(cliff.variant, getattr(cliff, OF_CLIFFS[condition.name])) for cliff in document.cliffs]
    else:
        found = [
            (f"{point.variant} at {point.users or point.rate}", _figure(point, condition.name))
            for point in document.points
        ]
    return [f"{where}: {_told(condition, value)}" for where, value in found if condition.holds(value)]


def _figure(point: Point, name: str) -> float | None:
    if name == "attainment":
        return point.attainment
    if name == "output_tps":
        return point.output_tps.value
    spread, figure = OF_POINTS[name]
    milliseconds: Any = getattr(getattr(point, spread), figure)
    return None if milliseconds is None else float(milliseconds) / MS


def _told(condition: Condition, value: float | None) -> str:
    shown = f"{1000 * value:.0f} ms" if condition.name in OF_POINTS and value is not None else f"{value:g}"
    return f"{condition.name} is {shown}, and --fail-if says {condition.text}"


def exit_code(document: Document, conditions: Sequence[Condition]) -> int:
    """0, or 99 with a line on stderr for everything that is as it must not be."""
    lines = missed(document, conditions)
    for line in lines:
        click.echo(f"simctl: {line}", err=True)
    return MISSED if lines else 0
