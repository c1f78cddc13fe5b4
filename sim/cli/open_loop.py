"""The stability limit of an open loop: the arrival rate beyond which requests pile up."""

from dataclasses import replace
from math import floor, log2

from sim import compose
from sim.capacity import WIDTH_SHARE
from sim.cli.point_rows import behind
from sim.cli.study import Study
from sim.cli.variants import Prepared
from sim.merging import merge
from sim.metrics import PointMetrics
from sim.runner import Key, Run, Runner

MOST_TIMES = 64  # the rate that was asked for, and as small a part of it


def stability_rate(study: Study, row: Prepared, runner: Runner[PointMetrics]) -> float | None:
    """The largest rate a second that the variant keeps up with, to 8%; None where none was found, and of a trace."""
    if study.traffic.trace is not None:
        return None
    asked = study.traffic.load(None).value
    stable = {rate: not _piles_up(study, row, rate, runner) for rate in [_round(asked)]}
    (rate,) = stable
    while len(set(stable.values())) == 1 and asked / MOST_TIMES < rate < asked * MOST_TIMES:
        rate = rate * 2 if stable[rate] else rate / 2
        stable[rate] = not _piles_up(study, row, rate, runner)
    if len(set(stable.values())) == 1:
        return None
    low = max(rate for rate, keeps in stable.items() if keeps)
    high = min(rate for rate, keeps in stable.items() if not keeps)
    while high - low > WIDTH_SHARE * low:
        middle = (low + high) / 2
        if _piles_up(study, row, middle, runner):
            high = middle
        else:
            low = middle
    return low


def _round(rate: float) -> float:
    """The power of two below, so that the rates visited depend little on the one asked for."""
    return 2.0 ** floor(log2(rate))


def _piles_up(study: Study, row: Prepared, rate: float, runner: Runner[PointMetrics]) -> bool:
    assert row.deployment is not None
    load = study.traffic.load(None)
    text = replace(load, value=rate).text
    traffic = replace(study.traffic, demand=replace(study.traffic.demand, load=text))
    key = Key(f"{row.variant.id} under {text}", None)
    runs = [Run(key, compose.scenario(row.variant, row.deployment, traffic, None, seed)) for seed in study.plan.seeds]
    return behind(merge([measured for _, measured in runner.run(runs)]).value, rate)
