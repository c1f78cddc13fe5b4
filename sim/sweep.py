"""Many runs: every variant at every number of users with every seed, on all cores, refined around the cliffs."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from sim.capacity import bracket, next_users
from sim.scenario import Result, Scenario
from sim.simulate import simulate

Measured = TypeVar("Measured")

# Below so many requests in all, starting processes takes longer than it saves.
WORTH_PROCESSES = 20_000


class Key(NamedTuple):
    """Which point of the sweep a run belongs to."""

    variant: str
    users: int | None


class Run(NamedTuple):
    """One scenario and the point that it is a sample of."""

    key: Key
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is; `doing` names the point that has just been done."""

    done: int
    planned: int
    doing: Key


@dataclass
class Findings(Generic[Measured]):
    """What is known so far: for every point that is complete, one measurement a seed."""

    points: dict[Key, list[Measured]] = field(default_factory=dict)
    interrupted: bool = False

    def of(self, variant: str) -> dict[int, list[Measured]]:
        """The points of one variant by number of users, ascending."""
        found = {key.users: seeds for key, seeds in self.points.items() if key.variant == variant}
        return {users: found[users] for users in sorted(users for users in found if users is not None)}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Runner(Generic[Measured]):
    """Runs scenarios and measures them; results come in the order asked, whatever order they are run in."""

    measure: Callable[[Result], Measured]  # picklable: it runs where the scenario does
    processes: int = 1
    report: Callable[[Progress], None] = lambda _: None

    def __post_init__(self) -> None:
        self._planned = self._done = 0
        self._started = False  # the processes, which then stay for later rounds

    def run(self, runs: Sequence[Run]) -> Iterator[tuple[Key, Measured]]:
        """Every run's point and measurement."""
        self._planned += len(runs)
        for run, measured in zip(runs, self._outcomes(runs), strict=True):
            self._done += 1
            self.report(Progress(self._done, self._planned, run.key))
            yield run.key, measured

    def _outcomes(self, runs: Sequence[Run]) -> Iterable[Measured]:
        scenarios = [run.scenario for run in runs]
        requests = sum(scenario.workload.requests for scenario in scenarios)
        if self.processes == 1 or not (self._started or requests >= WORTH_PROCESSES):
            return (run_one(scenario, self.measure) for scenario in scenarios)
        self._started = True
        return self._on_processes(scenarios)

    def _on_processes(self, scenarios: Sequence[Scenario]) -> Iterator[Measured]:
        from joblib import Parallel, delayed  # noqa: PLC0415 (only here: it takes long to load)

        with _interrupts_ignored():
            outcomes = Parallel(self.processes, return_as="generator", batch_size=1)(
                delayed(run_one)(scenario, self.measure) for scenario in scenarios
            )
        try:
            yield from outcomes
        except BaseException:
            # the pool's threads complain on stderr about work that an interrupt takes from them
            threading.excepthook = lambda _: None
            raise
        finally:
            outcomes.close()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """For the processes that are started meanwhile, which inherit it: an interrupt is for the sweep to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_one(scenario: Scenario, measure: Callable[[Result], Measured]) -> Measured:
    """Simulate and measure; the journal stays in the process that made it."""
    return measure(simulate(scenario))


@dataclass(frozen=True)
class Plan:
    """What a sweep visits. `scenario` makes the run of a variant at a number of users with a seed."""

    variants: tuple[str, ...]
    users: tuple[int | None, ...]
    seeds: tuple[int, ...]
    scenario: Callable[[str, int | None, int], Scenario]
    refine: bool

    def runs(self, key: Key) -> list[Run]:
        """One run of a point for each seed."""
        return [Run(key, self.scenario(key.variant, key.users, seed)) for seed in self.seeds]


def sweep(plan: Plan, runner: Runner[Measured], passes: Callable[[list[Measured]], bool]) -> Findings[Measured]:
    """The grid first, then round after round one more load between each variant's last pass and first failure.

    An interrupt ends it early; the points that are complete by then are kept.
    """
    findings: Findings[Measured] = Findings()
    keys = [Key(variant, users) for variant in plan.variants for users in plan.users]
    try:
        while keys:
            _visit(plan, keys, runner, findings)
            keys = _refinements(plan, findings, passes) if plan.refine else []
    except KeyboardInterrupt:
        findings.interrupted = True
    return findings


def _visit(plan: Plan, keys: Sequence[Key], runner: Runner[Measured], findings: Findings[Measured]) -> None:
    """Run these points; each is noted once all its seeds are there."""
    gathered: dict[Key, list[Measured]] = {key: [] for key in keys}
    runs = [run for key in keys for run in plan.runs(key)]
    for point, measured in runner.run(runs):
        gathered[point].append(measured)
        if len(gathered[point]) == len(plan.seeds):
            findings.points[point] = gathered[point]


def _refinements(plan: Plan, findings: Findings[Any], passes: Callable[[list[Any]], bool]) -> list[Key]:
    """The next load for every variant whose bracket is still wide."""
    keys = []
    for variant in plan.variants:
        verdicts = {users: passes(seeds) for users, seeds in findings.of(variant).items()}
        users = next_users(bracket(verdicts))
        if users is not None:
            keys.append(Key(variant, users))
    return keys
