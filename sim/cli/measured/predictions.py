"""Every measurement through the simulator: each run with its own load, equal ones once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from calibration import physics
from calibration.profile import Profile
from sim import compose
from sim.cli.measured.case import Case, setup
from sim.cli.measured.load import Asked, Passes, Served, Step
from sim.cli.measured.outcome import Outcome, of_result
from sim.cli.measured.passes import price_passes, price_step
from sim.cli.measured.server import Server
from sim.cost import StepCost
from sim.errors import SimctlError
from sim.runner import WORTH_PROCESSES, in_parallel
from sim.scenario import Scenario
from sim.simulate import simulate

JOBS_AT_ONCE = 4  # given to a process: most are short

Report = Callable[[int, int], None]  # how many runs are done, of how many


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a case comes to with a profile, or why it comes to nothing."""

    outcome: Outcome | str
    trust: str


@dataclass(frozen=True, slots=True)
class Job:
    """One run; it pickles."""

    server: Server
    asked: Asked
    cost: StepCost

    def play(self) -> Predicted:
        """Simulate or price it. Whatever goes wrong is a finding about this one run, to be listed with it."""
        try:
            return Predicted(self._outcome(), self.cost.trust)
        except SimctlError as error:
            return Predicted(str(error), self.cost.trust)
        except Exception as error:  # noqa: BLE001 (the other measurements are still worth predicting)
            return Predicted(f"the simulation failed: {type(error).__name__}: {error}", self.cost.trust)

    def _outcome(self) -> Outcome | str:
        run, deployment = self.asked.run, self.server.deployment
        if isinstance(run, Step):
            return price_step(run, deployment, self.cost)
        if isinstance(run, Passes):
            return price_passes(run, deployment, self.cost)
        scenario = Scenario(deployment, self.cost, run.workload, compose.router("round_robin"))
        return of_result(simulate(scenario), whole=run.whole)


def predictions(cases: Sequence[Case], profiles: Sequence[Profile], processes: int, report: Report) -> list[Predicted]:
    """What each case predicts with the profile beside it."""
    keys = [(setup(case.point), case.asked, id(profile)) for case, profile in zip(cases, profiles, strict=True)]
    jobs: dict[object, Job | Predicted] = {}
    for key, case, profile in zip(keys, cases, profiles, strict=True):
        if key not in jobs:
            jobs[key] = _job(case, profile)
    played: dict[object, Predicted] = {}
    for place, predicted in zip(jobs, _played(list(jobs.values()), processes), strict=True):
        played[place] = predicted
        report(len(played), len(jobs))
    return [played[key] for key in keys]


def _job(case: Case, profile: Profile) -> Job | Predicted:
    try:
        return Job(case.server, case.asked, physics.step_cost(case.server.deployment, profile))
    except SimctlError as error:
        return Predicted(str(error), profile.trust)


def _played(jobs: Sequence[Job | Predicted], processes: int) -> Iterator[Predicted]:
    if processes == 1 or sum(map(_requests, jobs)) < WORTH_PROCESSES:
        return map(_play, jobs)
    return in_parallel(_play, jobs, processes, JOBS_AT_ONCE)


def _requests(job: Job | Predicted) -> int:
    return job.asked.run.workload.requests if isinstance(job, Job) and isinstance(job.asked.run, Served) else 0


def _play(job: Job | Predicted) -> Predicted:
    return job.play() if isinstance(job, Job) else job
