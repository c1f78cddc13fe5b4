"""Names turned into objects: the one door from the words of a user to engines, policies, workloads and step times."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from importlib import import_module
from importlib.resources import files
from typing import Any, cast, get_type_hints

import numpy as np

from calibration import catalog
from calibration.profile import Profile
from calibration.profile import load as load_profile
from sim.cache import KVCache
from sim.cost import StepCost
from sim.engine import Deployment, Engine
from sim.errors import UnknownName, UsageError
from sim.hardware import Gpu, Host, Model
from sim.router import RouterMaker
from sim.scenario import Patience, Scenario
from sim.scheduler import Scheduler
from sim.slo import SLO_PRESETS, Slo
from sim.slowed import Slowed
from sim.variant import Budget, Demand, Variant, closed_budget, open_budget
from sim.workload import Workload
from workloads.arrivals import COUNTED, Load, parse_load
from workloads.lengths import Lengths, parse_lengths
from workloads.open_loop import Burst, OpenLoop
from workloads.presets import preset
from workloads.think import Think, parse_think
from workloads.units import parse_duration, parse_user_grid
from workloads.users import ClosedLoop

DEFAULT_MODEL = "llama-3.1-8b"
APPLE_GPU_SHARE = 0.75  # of the memory, by default
PCIE5_GBS = 30.0  # one way; no PCIe 4 card reaches it
PROFILE = "measured"
BLOCK_SIZE = 16  # tokens, for paged policies on engines without blocks
LONGEST_SHARE = 0.999
LENGTH_DRAWS = 20_000
SLO_FIELDS = [field.name for field in fields(Slo)]

# -- names


def fold(name: str) -> str:
    """A name as it is compared: case, dots, dashes and underscores do not count."""
    return name.lower().translate(str.maketrans("", "", ".-_ "))


@cache
def module_names(folder: str) -> dict[str, str]:
    """The files of a folder of policies, by the compared form of their names."""
    names = (path.name.removesuffix(".py") for path in files("policies").joinpath(folder).iterdir())
    return {fold(name): name for name in sorted(names) if name.isidentifier() and not name.startswith("_")}


def engine_names() -> list[str]:
    """Every engine there is: the files that know how to deploy one."""
    return [name for name in module_names("engines").values() if hasattr(_engine_module(name), "deploy")]


def engine_name(name: str) -> str:
    """The file that a spelling of an engine's name means; `package.module:object` stays as it is."""
    found = name if ":" in name else module_names("engines").get(fold(name))
    if found is None or (":" not in found and not hasattr(_engine_module(found), "deploy")):
        raise UnknownName("engine", name, engine_names())
    return found


def engine(name: str) -> Engine:
    """The engine of that name."""
    found = engine_name(name)
    return cast(Engine, outside(found) if ":" in found else _engine_module(found))


def _engine_module(name: str) -> Any:
    return import_module(f"policies.engines.{name}")


def outside(name: str) -> Any:
    """What `package.module:Name` means, looked for beside the user's files too."""
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        return getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"'{name}' cannot be loaded as package.module:Name: {error}") from error


def router(name: str) -> RouterMaker:
    """What makes a router of that name."""
    return cast(RouterMaker, _policy_class("routers", "router", name, lambda kind: hasattr(kind, "choose")))


def scheduler_names() -> list[str]:
    """Every scheduling policy: the files that hold one."""
    names = module_names("schedulers").values()
    return [name for name in names if _classes("schedulers", name, _is_scheduler)]


def router_names() -> list[str]:
    """Every routing policy."""
    return list(module_names("routers").values())


def _is_scheduler(kind: type[Any]) -> bool:
    return issubclass(kind, Scheduler)


def _policy_class(folder: str, word: str, name: str, fits: Callable[[type[Any]], bool]) -> Any:
    """The class that gives the file of that name its name, or is the only one of its sort in it."""
    if ":" in name:
        return outside(name)
    stem = module_names(folder).get(fold(name))
    found = _classes(folder, stem, fits) if stem else []
    namesakes = [kind for kind in found if fold(kind.__name__) == fold(name)]
    if len(namesakes or found) != 1:
        known = [known for known in module_names(folder).values() if _classes(folder, known, fits)]
        raise UnknownName(word, name, known)
    return (namesakes or found)[0]


def _classes(folder: str, stem: str, fits: Callable[[type[Any]], bool]) -> list[type[Any]]:
    module = import_module(f"policies.{folder}.{stem}")
    own = (kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__)
    return [kind for kind in own if fits(kind)]


def option_value(text: str) -> Any:
    """An option's value as a number or a truth value where it reads as one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# -- deployments


def usual_host(card: Gpu) -> str:
    """The machine one finds around a card: a Mac, a desktop, or a server of the card's generation."""
    if card.memory_class == "unified":
        return "mac-studio" if card.vendor == "apple" else "unified-box"
    if card.memory_class == "gddr":
        return "desktop-ddr5"
    return "server-ddr5" if card.pcie_gbs > PCIE5_GBS else "server-ddr4"


def default_weights(engine_id: str, model: Model | None = None) -> str:
    """The format that a model is published in where the engine can load it, else what its users run."""
    usual = getattr(engine(engine_id), "DEFAULT_WEIGHTS", None)
    if model and model.native_weights and (usual is None or catalog.is_gguf(model.native_weights)):
        return model.native_weights
    return str(usual or "bf16")


def machine(variant: Variant) -> tuple[Gpu, Host, Model]:
    """The card, the machine around it and the model that a variant names."""
    card = catalog.gpu(variant.gpu)
    if variant.vram_bytes is not None:
        card = replace(card, memory_bytes=variant.vram_bytes)
    return card, _beside(card, catalog.host(variant.host or usual_host(card))), catalog.model(variant.model)


def _beside(card: Gpu, host: Host) -> Host:
    """The machine as it is around this card: a memory that both share is the card's, whatever else is the machine's."""
    if card.memory_class != "unified":
        return host
    share = APPLE_GPU_SHARE if card.vendor == "apple" else 1.0
    return replace(host, ram_bytes=round(card.memory_bytes / share), ram_gbs=card.bandwidth_gbs)


def cards() -> list[Gpu]:
    """Every card of the catalogue."""
    return [catalog.gpu(name) for name in catalog.names("gpu")]


def hosts() -> list[Host]:
    """Every machine of the catalogue."""
    return [catalog.host(name) for name in catalog.names("host")]


def deploy(variant: Variant) -> Deployment:
    """Put the variant's engine on its machine; raises DoesNotFit, NotSupported or UsageError."""
    card, host, model = machine(variant)
    weights = variant.weights or default_weights(variant.engine, model)
    bits = catalog.weight_bits(model, weights, variant.engine)
    options = {**variant.options, "weights": weights, "weight_bits": bits}
    if variant.version is not None:
        options["version"] = variant.version
    if variant.kv_type is not None:
        catalog.kv_bytes_per_element(variant.kv_type)
        options["kv_type"] = variant.kv_type
    deployment = engine(variant.engine).deploy((card,) * variant.gpus, host, model, options)
    return deployment if variant.scheduler is None else with_scheduler(deployment, variant.scheduler)


def with_scheduler(deployment: Deployment, text: str) -> Deployment:
    """The deployment under another policy, which keeps the options that both have: `sjf:noise=0.3`."""
    name, options = _policy_text(text)
    kind = _policy_class("schedulers", "scheduler", name, _is_scheduler)
    known = [field.name for field in fields(kind) if field.init]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of scheduler '{name}'", option, known)
    shared = {key: getattr(deployment.scheduler, key) for key in known if hasattr(deployment.scheduler, key)}
    chosen = replace(deployment, scheduler=kind(**{**shared, **options}), cache=_cache_for(kind, deployment))
    try:
        chosen.core()
    except TypeError as error:
        raise UsageError(f"scheduler '{name}' does not go with {deployment.engine}: {error}") from error
    return chosen


def _policy_text(text: str) -> tuple[str, dict[str, Any]]:
    """`name:key=value,key=value` in parts; a colon may also stand in `package.module:Class`."""
    name, _, rest = text.rpartition(":") if "=" in text else (text, "", "")
    pairs = [part.partition("=") for part in rest.split(",")] if rest else []
    if not name or any(not equals for _, equals, _ in pairs):
        raise UsageError(f"scheduler '{text}' is not written as sjf or sjf:noise=0.3")
    return name, {key.strip(): option_value(value.strip()) for key, _, value in pairs}


def _cache_for(kind: type[Any], deployment: Deployment) -> Callable[[], KVCache]:
    """The engine's own cache for its own policy; for another the plain cache it works with, of the same size."""
    from policies.caches.paged import PagedCache
    from policies.caches.reserved import ReservedCache

    wanted, memory = get_type_hints(kind)["cache"], deployment.memory
    if kind is type(deployment.scheduler):
        return deployment.cache
    if wanted is ReservedCache:
        return partial(ReservedCache, memory.kv_tokens, min(memory.context, memory.kv_tokens))
    if wanted in (PagedCache, KVCache):
        block_size = deployment.options.get("block_size", BLOCK_SIZE)
        return partial(PagedCache, memory.kv_tokens // block_size + 1, block_size)
    return deployment.cache


def step_cost(variant: Variant, deployment: Deployment, factor: float = 1.0) -> StepCost:
    """What the deployment's steps cost, times a factor: from a table of measured times, or from a profile."""
    cost = _step_cost(variant, deployment)
    return cost if factor == 1.0 else Slowed(cost, factor)


def step_band(variant: Variant, deployment: Deployment) -> tuple[float, float]:
    """The factors that the true step times lie between, in four cases of five; 1 and 1 where nobody knows."""
    if variant.step_table is not None:
        return 1.0, 1.0
    return profile_of(variant).band(step_cost(variant, deployment).trust, "step")


def profile_of(variant: Variant) -> Profile:
    """What the variant's step times follow from."""
    return load_profile(variant.profile or PROFILE)


def _step_cost(variant: Variant, deployment: Deployment) -> StepCost:
    if variant.step_table is not None:
        from calibration.steptable import load
        from calibration.tablecost import TableCost

        return TableCost(load(variant.step_table))
    from calibration import physics

    return physics.step_cost(deployment, profile_of(variant))


# -- what is asked of them


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

    def load(self, users: int | None) -> Load:
        """The load itself; one that names no number takes the number of users."""
        text = self.demand.load
        if text.strip().lower() not in COUNTED or text.strip().lower() == "single":
            return parse_load(text)
        if users is None:
            raise UsageError(f"load '{text}' needs a number: write {text}:32, or --users 32")
        return parse_load(f"{text}:{users}")

    def budget(self, load: Load) -> Budget:
        """How many requests a run of this load takes."""
        if load.open_loop:
            return open_budget(load.value, self.demand.requests)
        if load.kind == "closed":
            return closed_budget(int(load.value), self.demand.requests)
        return Budget(0, int(load.value), 0)

    def workload(self, users: int | None) -> Workload:
        """What a run at this many users takes its requests from."""
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

    def longest_tokens(self) -> int:
        """The context that all but one request in a thousand stay within."""
        chance = np.random.default_rng(0)
        contexts = self.prompt.draw(chance, LENGTH_DRAWS) + self.output.draw(chance, LENGTH_DRAWS)
        return int(np.quantile(contexts, LONGEST_SHARE, method="higher"))


def traffic(demand: Demand) -> Traffic:
    """The distributions that a demand names; a length given by itself wins over the workload's."""
    base = preset(demand.workload)
    prompt = parse_lengths(demand.prompt_tokens, "prompt") if demand.prompt_tokens else base.prompt
    output = parse_lengths(demand.output_tokens, "output") if demand.output_tokens else base.output
    return Traffic(demand, prompt, output, parse_think(demand.think))


def scenario(
    variant: Variant, deployment: Deployment, traffic: Traffic, users: int | None, seed: int, factor: float = 1.0
) -> Scenario:
    """One run, complete; its steps take `factor` times as long as they are thought to."""
    demand = traffic.demand
    return Scenario(
        deployment,
        step_cost(variant, deployment, factor),
        traffic.workload(users),
        router(variant.router),
        variant.replicas,
        seed,
        Patience(demand.timeout_s, demand.retries),
    )


def sweep(
    variants: Sequence[Variant],
    demand: Demand | None = None,
    users: str = "1..128",
    asked: Slo = SLO_PRESETS["chat"],
    seeds: int = 3,
    processes: int = 1,
) -> list[dict[str, Any]]:
    """Every variant at every number of users, refined around the cliffs: a flat row for each load, its seeds merged.

    `keeps` says whether the load surely keeps the SLO; latencies are in milliseconds.
    """
    from reports.schema import encode
    from reports.tables import flat
    from sim.judging import Judgement, interval
    from sim.merging import merge
    from sim.metrics import PointMetrics, summarise
    from sim.runner import Runner
    from sim.sweep import Plan
    from sim.sweep import sweep as visit

    def judge(points: list[PointMetrics]) -> Judgement:
        return interval(tuple(share for point in points for share in point.batches)).judge()

    def run(name: str, count: int | None, seed: int) -> Scenario:
        variant, deployment = ready[name]
        return scenario(variant, deployment, wanted, count, seed)

    wanted, grid = traffic(demand or Demand()), parse_user_grid(users)
    ready = {variant.id: (variant, deploy(variant)) for variant in variants}
    plan = Plan(tuple(ready), grid.users, tuple(range(seeds)), run, grid.refine)
    points = visit(plan, Runner(partial(summarise, slo=asked), processes), judge).points
    return [
        {"variant": key.variant, "users": key.users, "keeps": judge(measured) is Judgement.PASS}
        | {name: figure for name, figure in flat(encode(merge(measured).value)).items() if not isinstance(figure, list)}
        for key, measured in sorted(points.items())
    ]
