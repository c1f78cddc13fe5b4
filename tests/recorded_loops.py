"""What the simulator predicts of the recorded closed loops: step tables, the clients' lengths and first round go in."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import cast

import numpy as np

from calibration.tables.steptable import StepTable
from calibration.tables.tablecost import TableCost
from policies.routers.round_robin import RoundRobin
from sim.clock import PS_PER_S
from sim.journal import ENDS
from sim.latency import Integers, Marks
from sim.request import End
from sim.scenario import Result, Scenario
from sim.simulate import simulate
from sim.workload import Workload
from tests.recorded_clients import RecordedClients, Ways, ids_by_level
from tests.recorded_servers import deployment, step_table
from tests.recordings import LevelFigures, RecordedLevel, Recording, load, upper_median_ms

SEEDS = range(20)
STREAM_END_S = 0.0006  # llama-server, one user: from the last token to the end of the stream


@dataclass(frozen=True, slots=True)
class Outcome:
    """One level of one run."""

    figures: LevelFigures
    failed: frozenset[tuple[int, int]]  # user and how many requests it had sent before


@dataclass(frozen=True, slots=True)
class Prediction:
    """A level as it was recorded, as every seed has it, and the medians over the seeds."""

    name: str
    level: RecordedLevel
    outcomes: tuple[Outcome, ...]

    @property
    def figures(self) -> LevelFigures:
        """Each figure's median."""
        runs = [one.figures for one in self.outcomes]
        return LevelFigures(**{f.name: statistics.median(getattr(r, f.name) for r in runs) for f in fields(runs[0])})


def predict(name: str, seeds: Sequence[int] = SEEDS) -> list[Prediction]:
    """Every level of a recording."""
    recording = load(name)
    scenario = scenario_of(recording)
    runs = [outcomes(recording, simulate(replace(scenario, seed=seed))) for seed in seeds]
    return [
        Prediction(name, level, tuple(run[number] for run in runs)) for number, level in enumerate(recording.levels)
    ]


def scenario_of(recording: Recording) -> Scenario:
    """The recording's server and clients, all its levels one after the other."""
    table = step_table(recording)
    workload = cast(Workload, clients(recording, table))
    return Scenario(deployment(recording), TableCost(table), workload, RoundRobin)


# -- the clients


def clients(recording: Recording, table: StepTable) -> RecordedClients:
    """The recording's clients, as far from the server as a single user was seen to be.

    llama-server's HTTP threads race: a request's way in varies and neighbours overtake. vLLM's front end is one loop:
    its time varies and the order stays; the rest is split in two halves, since no record tells them apart.
    """
    total_s = table.client_latency_ms / 1e3
    if recording.engine == "vllm":
        seen = taken_in_s("seqs128_b2048")
        scale = table.request_overhead_ms / 1e3 / statistics.fmean(seen)
        ways = Ways((total_s / 2,), tuple(scale * one for one in seen), total_s / 2, 0.0)
        return RecordedClients(recording, ways, joins_in_steps=False)
    seen = taken_in_s("np4")
    ways = Ways(seen, (0.0,), max(0.0, total_s - statistics.median(seen)), STREAM_END_S)
    return RecordedClients(recording, ways, joins_in_steps=True)


def taken_in_s(name: str) -> tuple[float, ...]:
    """How long after its sending each request of a recording's single user was taken in."""
    alone = load(name).level(1).requests
    return tuple(request.t_headers - request.t_send for request in alone if request.t_headers is not None)


# -- what the recording client would report


def outcomes(recording: Recording, result: Result) -> list[Outcome]:
    """Of each level, by the recording client's formulas."""
    load: object = result.scenario.workload
    assert isinstance(load, RecordedClients)
    assert result.unanswered == 0
    return [_outcome(result, level, ids, load.ways) for level, ids in ids_by_level(recording)]


def _outcome(result: Result, level: RecordedLevel, ids: range, ways: Ways) -> Outcome:
    mine = (result.requests["id"] >= ids.start) & (result.requests["id"] < ids.stop)
    log = {name: column[mine] for name, column in result.requests.items()}
    good = log["end"] != ENDS.index(End.FAILED)
    sent, first, end = (log[name] / PS_PER_S for name in ("arrival_ps", "first_token_ps", "end_ps"))
    answered = end + ways.to_client_s + ways.stream_end_s
    zero = sent.min() - min(request.t_send for request in level.requests)
    tokens = log["output_tokens"]
    figures = LevelFigures(
        output_tok_s=float(tokens[good].sum() / (answered.max() - zero)),
        ttft_p50_ms=upper_median_ms((first - sent + ways.to_client_s)[good].tolist()),
        tpot_p50_ms=upper_median_ms(((end - first) / np.maximum(tokens - 1, 1))[good].tolist()),
        e2e_p50_ms=upper_median_ms((answered - sent)[good].tolist()),
        failures=int((~good).sum()),
        preemptions=int(log["preemptions"].sum()),
    )
    return Outcome(figures, _failed(log["id"], log["user"], good))


def _failed(ids: Integers, users: Integers, good: Marks) -> frozenset[tuple[int, int]]:
    """The failed requests by user and turn: a user's requests have rising ids."""
    turns = [int(((users == user) & (ids < number)).sum()) for number, user in zip(ids, users, strict=True)]
    return frozenset((int(users[row]), turns[row]) for row in np.flatnonzero(~good))
