"""Throughput by load as others published it, each level once more through the simulator as `simctl validate` does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from calibration import physics, profile, sources
from calibration.fit import fitted
from calibration.points import Point
from calibration.profile import Profile
from calibration.sources import fitted_points
from sim import compose
from sim.cause import Limit
from sim.cli.measured.case import Case, cases
from sim.cli.measured.load import Served
from sim.cli.measured.outcome import Outcome, of_result
from sim.cli.measured.physics_gate import refusal
from sim.cli.step_parts import step_shares
from sim.cli.variants import Prepared
from sim.metrics import PointMetrics, summarise
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.slo import Slo
from tests import cliff_readings
from tests.cliff_loads import MakeLoad
from tests.cliff_readings import Causes, Cliff


@dataclass(frozen=True, slots=True)
class Series:
    """Levels of one server under one kind of request."""

    server: str
    source: str
    columns: Mapping[str, Any]  # that tell its rows from the source's others
    seen: Limit
    shown: str
    waits: bool = False  # the source's own figures show requests that wait to be let in
    stated: Mapping[str, Any] = field(default_factory=dict)  # columns, by what the source says beside its table
    load: MakeLoad | None = None  # likewise; None: as `simctl validate` takes it

    def points(self) -> list[Point]:
        """Its rows, the lowest load first."""
        rows = [point for point in sources.load(self.source) if self._has(point)]
        return sorted((replace(point, **self.stated) for point in rows), key=lambda point: point.load_value)

    def _has(self, point: Point) -> bool:
        return all(getattr(point, name) == value for name, value in self.columns.items())


@dataclass(frozen=True, slots=True)
class Level:
    """One load, measured and simulated."""

    point: Point
    assumed: tuple[str, ...]
    outcome: Outcome
    metrics: PointMetrics
    causes: Causes


def levels(series: Series) -> list[Level]:
    """Every level of a series, on a profile that has not seen it."""
    found, unmapped = cases(list(enumerate(series.points(), 1)), refusal)
    assert not unmapped, unmapped
    return [_level(case, series.load, unseen(series.source)) for case in found]


@cache
def unseen(source: str) -> Profile:
    """The profile that simctl ships where its fit leaves the source out, else one fitted without it."""
    if sources.sources()[source].held_out:
        return profile.load(compose.PROFILE)
    return fitted([point for point in fitted_points() if point.source_id != source], f"without {source}").profile


def _level(case: Case, load: MakeLoad | None, priced_by: Profile) -> Level:
    run, server = case.asked.run, case.server
    assert isinstance(run, Served)
    workload = run.workload if load is None else load(case.point)
    cost = physics.step_cost(server.deployment, priced_by)
    result = simulate(Scenario(server.deployment, cost, workload, compose.router("round_robin")))
    outcome, metrics = of_result(result, whole=run.whole), summarise(result, Slo())
    assert isinstance(outcome, Outcome), outcome
    step = step_shares(Prepared(server.variant, server.deployment), metrics)
    return Level(case.point, case.assumed, outcome, metrics, cliff_readings.causes(metrics, step))


def rates(found: list[Level]) -> tuple[dict[float, float], dict[float, float]]:
    """Output tok/s by load, measured and predicted."""
    measured = {one.point.load_value: one.point.output_tps or 0.0 for one in found}
    return measured, {one.point.load_value: one.outcome.output_tps for one in found}


def cliff(series: Series) -> Cliff:
    """Where the series saturates."""
    found = levels(series)
    reading, measured, predicted, causes = _inside(found) if series.waits else _on_the_curve(found)
    last = found[-1]
    faster = 100 * (last.outcome.output_tps / (last.point.output_tps or 0.0) - 1)
    positions = measured, predicted
    return Cliff(series.server, series.source, reading, *positions, series.shown, series.seen, causes, faster)


Position = tuple[str, float, float, Causes]


def _inside(found: list[Level]) -> Position:
    """How many are inside at the highest load."""
    point, outcome = found[-1].point, found[-1].outcome
    measured = cliff_readings.carried(point.output_tps or 0.0, point.tpot_ms_mean or 0.0)
    return "carried", measured, cliff_readings.carried(outcome.output_tps, outcome.tpot_ms or 0.0), found[-1].causes


def _on_the_curve(found: list[Level]) -> Position:
    """Where the rate stops growing, or everybody has become half as fast."""
    measured, predicted = rates(found)
    reading = cliff_readings.by_shape(measured)
    read = cliff_readings.plateau if reading == "plateau" else cliff_readings.half
    position = read(predicted)
    after = cliff_readings.beyond(list(predicted), position)
    causes = next(one.causes for one in found if one.point.load_value == after)
    return reading, read(measured), position, causes
