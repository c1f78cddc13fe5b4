"""What is asked of a deployment: the load and its lengths as distributions, and the bounds to keep."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from sim.compose.load_options import refuse_unused, used
from sim.errors import UnknownName, UsageError
from sim.naming import fold
from sim.slo import SLO_PRESETS, Slo
from sim.variant import Budget, Demand, closed_budget, open_budget
from sim.workload import Workload
from workloads.arrivals import TRACE, Load, parse_load
from workloads.lengths import Lengths, parse_lengths
from workloads.open_loop import Burst, OpenLoop
from workloads.presets import preset
from workloads.think import Think, parse_think
from workloads.trace import Trace, read_trace
from workloads.units import parse_duration
from workloads.users import ClosedLoop

LONGEST_SHARE = 0.999
LENGTH_DRAWS = 20_000
SLO_FIELDS = [field.name for field in fields(Slo)]


def slo(text: str) -> Slo:
    """A preset by name, or bounds as `ttft=500ms,tpot=40ms`."""
    if "=" not in text:
        found = next((bounds for name, bounds in SLO_PRESETS.items() if fold(name) == fold(text)), None)
        if found is None:
            raise UnknownName("SLO", text, [*SLO_PRESETS, "ttft=500ms,tpot=40ms"])
        return found
    bounds: dict[str, float] = {}
    for part in text.split(","):
        name, _, limit = part.partition("=")
        if f"{name.strip().lower()}_s" not in SLO_FIELDS:
            raise UnknownName("SLO bound", name.strip(), [field.removesuffix("_s") for field in SLO_FIELDS])
        bounds[f"{name.strip().lower()}_s"] = parse_duration(limit, f"SLO {name}")
    return Slo(**bounds)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A demand with its words turned into distributions, ready for any number of users."""

    demand: Demand
    prompt: Lengths
    output: Lengths
    think: Think
    trace: Trace | None = None  # the requests themselves

    @property
    def by_users(self) -> bool:
        """Whether the load takes its size from the number of users."""
        return "users" in used(self.demand)

    def load(self, users: int | None) -> Load:
        """The load itself; one that names no number takes the number of users."""
        if self.trace is not None:
            return Load(TRACE, self.trace.rate)
        text = self.demand.load
        if not self.by_users:
            return parse_load(text)
        if users is None:
            raise UsageError(f"load '{text}' needs a number: write {text}:32, or --users 32")
        return parse_load(f"{text}:{users}")

    def budget(self, load: Load) -> Budget:
        """How many requests a run of this load takes."""
        if self.trace is not None:
            return Budget(0, self.trace.requests, 0)
        if load.open_loop:
            return open_budget(load.value, self.demand.requests)
        if load.kind == "closed":
            return closed_budget(int(load.value), self.demand.requests)
        return Budget(0, int(load.value), 0)

    def workload(self, users: int | None) -> Workload:
        """What a run at this many users takes its requests from."""
        if self.trace is not None:
            return self.trace
        load = self.load(users)
        budget = self.budget(load)
        lengths, ends = (self.prompt, self.output), (budget.warmup, budget.cooldown)
        made: Any
        if load.open_loop:
            made = OpenLoop(load.arrivals(), budget.total, *lengths, *ends)
        elif load.kind == "closed":
            made = ClosedLoop(int(load.value), budget.total, *lengths, self.think, *ends)
        else:
            made = Burst(budget.total, *lengths)
        return cast(Workload, made)

    def longer_prompts(self, tokens: int) -> float:
        """The share of the prompts that are longer than so many tokens."""
        return float((self.prompt.draw(np.random.default_rng(0), LENGTH_DRAWS) > tokens).mean())

    def longest_tokens(self) -> int:
        """The context that all but one request in a thousand stay within."""
        chance = np.random.default_rng(0)
        contexts = self.prompt.draw(chance, LENGTH_DRAWS) + self.output.draw(chance, LENGTH_DRAWS)
        return int(np.quantile(contexts, LONGEST_SHARE, method="higher"))


def traffic(demand: Demand) -> Traffic:
    """The distributions that a demand names; a length given by itself wins over the workload's."""
    if demand.trace is not None:
        return _traced(demand, demand.trace)
    usual = Demand()
    refuse_unused(demand, [name for name in ("requests", "think") if getattr(demand, name) != getattr(usual, name)])
    base = preset(demand.workload)
    prompt = parse_lengths(demand.prompt_tokens, "prompt") if demand.prompt_tokens else base.prompt
    output = parse_lengths(demand.output_tokens, "output") if demand.output_tokens else base.output
    return Traffic(demand, prompt, output, parse_think(demand.think))


def _traced(demand: Demand, path: str) -> Traffic:
    """A demand for the requests of a file, which leave nothing to say about loads and lengths."""
    usual = Demand()
    for name in ("load", "workload", "prompt_tokens", "output_tokens", "think", "requests"):
        if getattr(demand, name) != getattr(usual, name):
            flag = name.replace("_", "-")
            raise UsageError(f"--trace says when requests come and how long they are: leave --{flag} out")
    trace = read_trace(Path(path))
    return Traffic(demand, trace.prompt, trace.output, parse_think(demand.think), trace)
