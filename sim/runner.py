"""Many runs on all cores, measured where they are made, and remembered where somebody asks for that."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from sim.scenario import Result, Scenario
from sim.simulate import simulate

Measured = TypeVar("Measured")
Item = TypeVar("Item")
Done = TypeVar("Done")

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

    @property
    def name(self) -> str:
        """What tells it from the other runs of a study."""
        return f"{self.key.variant} at {self.key.users}, seed {self.scenario.seed}"


class Memory(Protocol[Measured]):
    """What earlier runs came to."""

    def recall(self, name: str) -> Measured | None:
        """The measurement of the run of that name, if it has been made."""
        ...

    def keep(self, name: str, measured: Measured) -> None:
        """Note a measurement."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is; `doing` names the point that has just been done."""

    done: int
    planned: int
    doing: Key


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Runner(Generic[Measured]):
    """Runs scenarios and measures them; results come in the order asked, whatever order they are run in."""

    measure: Callable[[Result], Measured]  # picklable: it runs where the scenario does
    processes: int = 1
    report: Callable[[Progress], None] = lambda _: None
    memory: Memory[Measured] | None = None

    def __post_init__(self) -> None:
        self._planned = self._done = 0
        self._requests = 0  # asked for so far
        self._started = False  # the processes, which then stay for later rounds

    def run(self, runs: Sequence[Run]) -> Iterator[tuple[Key, Measured]]:
        """Every run's point and measurement."""
        self._planned += len(runs)
        known = [None if self.memory is None else self.memory.recall(run.name) for run in runs]
        fresh = iter(self._outcomes([run for run, found in zip(runs, known, strict=True) if found is None]))
        for run, found in zip(runs, known, strict=True):
            measured = found
            if measured is None:
                measured = next(fresh)
                if self.memory is not None:
                    self.memory.keep(run.name, measured)
            self._done += 1
            self.report(Progress(self._done, self._planned, run.key))
            yield run.key, measured

    def _outcomes(self, runs: Sequence[Run]) -> Iterable[Measured]:
        scenarios = [run.scenario for run in runs]
        self._requests += sum(scenario.workload.requests for scenario in scenarios)
        worth = len(runs) > 1 and (self._started or self._requests >= WORTH_PROCESSES)
        if self.processes == 1 or not worth:
            return (run_one(scenario, self.measure) for scenario in scenarios)
        self._started = True
        return in_parallel(partial(run_one, measure=self.measure), scenarios, self.processes)


def in_parallel(
    work: Callable[[Item], Done], items: Sequence[Item], processes: int, at_once: int = 1
) -> Iterator[Done]:
    """The work done on every item, on so many processes, in the order of the items; all picklable.

    A process is handed so many items at once.
    """
    from joblib import Parallel, delayed  # noqa: PLC0415 (only here: it takes long to load)

    with _interrupts_ignored():
        pool = Parallel(processes, return_as="generator", batch_size=at_once)
        outcomes = pool(delayed(work)(item) for item in items)
    try:
        yield from outcomes
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
