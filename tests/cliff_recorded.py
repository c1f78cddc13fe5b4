"""The recorded closed loops as cliffs: the runs of the replayed servers, cut into their levels."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

from sim.cause import Limit, candidates
from sim.metrics import PointMetrics, summarise
from sim.scenario import Result
from sim.simulate import simulate
from sim.slo import Slo
from tests import cliff_readings
from tests.cliff_readings import Causes, Cliff
from tests.recorded_clients import ids_by_level
from tests.recorded_loops import outcomes, scenario_of
from tests.recordings import Recording, load

SERVERS = {
    "np1": "llama-server b11434 on a CPU, 1 slot",
    "np4": "llama-server b11434 on a CPU, 4 slots",
    "np8_kvu2048": "llama-server b11434 on a CPU, 8 slots over 2,048 cells",
    "seqs128_b2048": "vLLM 0.32.0 on a CPU, 128 places",
}


DISTURBED = {("np1", 16)}  # other work ran on the machine; as the page of recorded loops says


@dataclass(frozen=True, slots=True)
class OneLevel:
    """The part of a run's requests that belongs to a level, for the measured window."""

    requests: int
    warmup: int
    cooldown: int


@cache
def run(name: str) -> Result:
    """One run of all levels, on a server that says how many slots it has."""
    recording = load(name)
    scenario, options = scenario_of(recording), recording.command.split()
    slots = int(options[options.index("-np") + 1]) if "-np" in options else None
    memory = replace(scenario.deployment.memory, slots=slots)
    return simulate(replace(scenario, deployment=replace(scenario.deployment, memory=memory)))


def rates(name: str) -> tuple[dict[float, float], dict[float, float]]:
    """Output tok/s by users, recorded and predicted."""
    recording = load(name)
    found = list(zip(recording.levels, outcomes(recording, run(name)), strict=True))
    levels = [(level, one) for level, one in found if (name, level.users) not in DISTURBED]
    recorded = {float(level.users): level.figures.output_tok_s for level, _ in levels}
    return recorded, {float(level.users): one.figures.output_tok_s for level, one in levels}


def metrics_of(recording: Recording, users: float) -> PointMetrics:
    """All figures of one level of the run."""
    result = run(recording.name)
    ids = next(ids for level, ids in ids_by_level(recording) if level.users == users)
    total = result.scenario.workload.requests
    view = cast(Any, OneLevel(total, ids.start, total - ids.stop))
    return summarise(replace(result, scenario=replace(result.scenario, workload=view)), Slo())


def cliff(name: str, shown: str, seen: Limit) -> Cliff:
    """Where a recorded server saturates."""
    recording = load(name)
    recorded, predicted = rates(name)
    reading = cliff_readings.by_shape(recorded)
    read = cliff_readings.plateau if reading == "plateau" else cliff_readings.half
    positions = read(recorded), read(predicted)
    level = metrics_of(recording, cliff_readings.beyond(list(predicted), positions[1]))
    causes = cliff_readings.causes(level, cliff_readings.NOTHING_APART)
    faster = 100 * (predicted[max(predicted)] / recorded[max(recorded)] - 1)
    return Cliff(SERVERS[name], "recorded", reading, *positions, shown, seen, causes, faster)


def failing(name: str, shown: str) -> Cliff:
    """Where requests begin to fail."""
    recording = load(name)
    found = list(zip(recording.levels, outcomes(recording, run(name)), strict=True))
    measured = min(level.users for level, _ in found if level.figures.failures)
    predicted = min(level.users for level, one in found if one.figures.failures)
    level = metrics_of(recording, predicted)
    named = next(iter(candidates(level, "finished", cliff_readings.NOTHING_APART)), None)
    return Cliff(SERVERS[name], "recorded", "failing", measured, predicted, shown, "kv_blocks", Causes(named, named))


def cliffs() -> list[Cliff]:
    """All of them."""
    return [
        cliff("np1", "one slot, and all others wait for it", "seq_slots"),
        cliff("np4", "four slots, all of them busy from 4 users on", "seq_slots"),
        failing("np8_kvu2048", "the server's error: no room in the cells"),
        cliff(
            "seqs128_b2048",
            "nobody waits; with 9 and more at once, 67% of the time goes to steps with prompts",
            "prefill_budget",
        ),
    ]
