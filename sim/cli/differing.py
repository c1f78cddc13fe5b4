"""What a comparison comes to: paired differences from a baseline, and who wins at which loads."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from reports.comparison import Compared, Difference, Stretch
from sim.capacity import judged_bracket
from sim.merging import judge
from sim.metrics import PointMetrics
from sim.paired import Gap, crossing, gap

# By users, a measurement for each seed; None where requests arrive by themselves.
Points = Mapping[int | None, Sequence[PointMetrics]]


def _throughput(point: PointMetrics) -> float | None:
    return point.output_tps


def _first_token(point: PointMetrics) -> float | None:
    return point.ttft.p99 if point.ttft else None


def _token(point: PointMetrics) -> float | None:
    return point.tpot.p50 if point.tpot else None


def _gap_between_tokens(point: PointMetrics) -> float | None:
    return point.itl.p99 if point.itl else None


FIGURES: dict[Compared, Callable[[PointMetrics], float | None]] = {
    "output_tps": _throughput,
    "ttft_ms": _first_token,
    "tpot_ms": _token,
    "itl_ms": _gap_between_tokens,
}


def differences(variant: str, points: Points, baseline: str, base: Points, seeds: int) -> Iterator[Difference]:
    """Of the capacity first, then of every figure at the loads that both were run at."""
    carried = [crossing(_attainments(points, seed)) for seed in range(seeds)]
    before = [crossing(_attainments(base, seed)) for seed in range(seeds)]
    yield from _difference(variant, baseline, "capacity_users", None, carried, before)
    for users in sorted(points.keys() & base.keys(), key=lambda users: users or 0):
        for metric, figure in FIGURES.items():
            values, others = ([figure(point) for point in each[users]] for each in (points, base))
            common = min(len(values), len(others))
            yield from _difference(variant, baseline, metric, users, values[:common], others[:common])


def _attainments(points: Points, seed: int) -> dict[int, float]:
    return {users: seeds[seed].attainment or 0.0 for users, seeds in points.items() if users and seed < len(seeds)}


def _difference(
    variant: str,
    baseline: str,
    metric: Compared,
    users: int | None,
    values: Sequence[float | None],
    others: Sequence[float | None],
) -> Iterator[Difference]:
    """The difference over the seeds that have both figures; nothing where none has."""
    pairs = [(one, other) for one, other in zip(values, others, strict=True) if one is not None and other is not None]
    if not pairs:
        return
    ours, theirs = ([pair[place] for pair in pairs] for place in (0, 1))
    found: Gap = gap(ours, theirs)
    yield Difference(
        variant=variant,
        baseline=baseline,
        metric=metric,
        users=users,
        value=sum(ours) / len(ours),
        baseline_value=sum(theirs) / len(theirs),
        difference=found.value,
        low=found.low,
        high=found.high,
        certain=found.certain,
    )


# -- who wins


def winners(points: Mapping[str, Points]) -> list[Stretch]:
    """The best of those that carry a load, from the smallest load that all were run at to the largest."""
    common = set.intersection(*(set(each) for each in points.values())) if points else set()
    loads = sorted(users for users in common if users is not None)
    if not loads:
        return []
    carried, tested = {name: _carried(each) for name, each in points.items()}, max(loads)
    starts = sorted(
        users for users in {*loads, *(most + 1 for most in carried.values())} if loads[0] <= users <= tested
    )
    stretches: list[Stretch] = []
    for users in starts:
        able = [name for name, most in carried.items() if most >= users]
        best = _best({name: points[name] for name in able}, max(load for load in loads if load <= users))
        if not stretches or stretches[-1].best != best:
            stretches = [*_ended(stretches, users - 1), Stretch(users, None, best)]
    return _ended(stretches, tested) if stretches[-1].best else stretches


def _ended(stretches: list[Stretch], last: int) -> list[Stretch]:
    """The stretches, the last of which goes no further."""
    return [*stretches[:-1], *(Stretch(open_one.from_, last, open_one.best) for open_one in stretches[-1:])]


def _carried(points: Points) -> int:
    return judged_bracket({users: judge(list(seeds)) for users, seeds in points.items() if users}).passing


def _best(points: Mapping[str, Points], users: int) -> tuple[str, ...]:
    """Who answers most tokens a second at a load, and who cannot be told from that one."""
    rates = {name: [point.output_tps for point in each[users]] for name, each in points.items()}
    first = max(rates, key=lambda name: sum(rates[name]) / len(rates[name]), default=None)
    if first is None:
        return ()
    alike = []
    for name, values in rates.items():
        common = min(len(values), len(rates[first]))
        if name == first or not gap(rates[first][:common], values[:common]).certain:
            alike.append(name)
    return tuple(alike)
