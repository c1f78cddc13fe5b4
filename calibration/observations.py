"""Measurements as the fit sees them: a time, and the passes that it was spent on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from calibration import catalog
from calibration.gate import judge
from calibration.points import Point
from calibration.scopes import Family, era, weights_class
from calibration.terms import Facts, Work, facts
from sim.engine import Traits
from sim.errors import SimctlError
from sim.hardware import Gpu, Model

KERNELS = {"vllm": "vllm", "llama.cpp": "llama.cpp", "ollama": "llama.cpp"}
PROMPT_BUDGET = {"vllm": 8192, "llama.cpp": 512}  # prompt tokens of one pass, by default
KV_SHARE = 0.9  # of what the weights leave of the memory


@dataclass(frozen=True, slots=True)
class Observation:
    """One time, the passes it took (how often, and what each did), and whose kernels they were."""

    point: Point
    model: str  # the catalogue's id
    family: Family
    facts: Facts
    passes: tuple[tuple[float, Work], ...]
    hosted: bool  # the host's work on a step is part of its time
    measured_s: float


def observe(points: Iterable[Point]) -> tuple[list[Observation], list[tuple[Point, str]]]:
    """What can be used of the points, and why the others cannot."""
    used, left = [], []
    for point in points:
        try:
            used.append(observation(point))
        except (SimctlError, Unusable) as reason:
            left.append((point, str(reason)))
    return used, left


class Unusable(Exception):
    """A point that says too little about the time of passes."""


def observation(point: Point) -> Observation:
    """The passes behind a point's time."""
    kernels = KERNELS.get(point.engine)
    if kernels is None:
        raise Unusable(f"{point.engine} is not modelled")
    gpu, model = catalog.gpu(point.gpu), catalog.model(point.model)
    bits = catalog.weight_bits(model, point.weights, point.engine)
    traits = Traits(kernels, point.weights, bits, tensor_parallel=point.gpu_count if kernels == "vllm" else 1)
    family = Family(
        kernels,
        gpu.memory_class,
        gpu.vendor,
        weights_class(point.weights, bits),
        gpu.id,
        era(kernels, point.engine_version),
    )
    if impossible := judge(point, gpu, model, bits):
        raise Unusable(impossible)
    weight_bytes = model.parameters * bits / 8
    if weight_bytes > 0.95 * gpu.memory_bytes * point.gpu_count:
        raise Unusable("the weights do not fit: layers are on the host")
    reader = READERS.get(point.load)
    if reader is None:
        raise Unusable(f"load {point.load}: its batch is not known")
    measured, passes = reader(point, kernels, room(gpu, model, weight_bytes, point))
    amounts = facts(model, gpu, traits, weight_bytes)
    return Observation(point, model.id, family, amounts, passes, family.era in ("v0", "sync"), measured)


def room(gpu: Gpu, model: Model, weight_bytes: float, point: Point) -> float:
    """Tokens of context that the memory holds beside the weights."""
    if point.kv_tokens:
        return point.kv_tokens
    per_token = model.kv_bytes_per_token(2.0)
    if point.kv_gib:
        return point.kv_gib * 2**30 * point.gpu_count / per_token
    return (KV_SHARE * gpu.memory_bytes * point.gpu_count - weight_bytes) / per_token


Passes = tuple[tuple[float, Work], ...]


def decode(rows: float, context: float) -> Work:
    return Work(rows, 0.0, rows, rows * context, 0.0)


def prompts(count: float, length: float, budget: float, depth: float = 0.0) -> Passes:
    """The passes over so many prompts behind so much context, filled up to the budget."""
    total = count * length
    number = ceil(total / budget)
    cells = count * length * (depth + (length + 1) / 2)
    return ((number, Work(0.0, total / number, count / number, 0.0, cells / number)),)


def need(value: float | None, name: str) -> float:
    if value is None or not value > 0:
        raise Unusable(f"{name} is not stated")
    return value


def decode_step(point: Point, _kernels: str, _room: float) -> tuple[float, Passes]:
    context = (point.depth_tokens or 0) + (point.prompt_tokens or 0)
    rows = point.load_value
    seconds = point.tpot_ms_mean / 1e3 if point.tpot_ms_mean else rows / need(point.output_tps, "output_tps")
    return seconds, ((1.0, decode(rows, max(1.0, context))),)


def prefill(point: Point, kernels: str, _room: float) -> tuple[float, Passes]:
    seconds = need(point.ttft_ms_mean or point.ttft_ms_p50, "ttft_ms_mean") / 1e3
    length = point.prompt_tokens or point.load_value
    return seconds, prompts(point.load_value / length, length, budget(point, kernels), point.depth_tokens or 0.0)


def budget(point: Point, kernels: str) -> float:
    for part in point.engine_options.replace(",", ";").split(";"):
        name, _, value = part.strip().lstrip("-").partition("=")
        if name.replace("_", "-") in ("n-ubatch", "ubatch", "ubatch-size", "ub"):
            return float(value)
    return PROMPT_BUDGET[kernels]


def microbatch(point: Point, _kernels: str, _room: float) -> tuple[float, Passes]:
    rate = need(point.output_tps, "output_tps")
    rows = point.load_value
    return rows / rate, ((1.0, Work(rows, 0.0, 1.0, rows, 0.0)),)


def single(point: Point, _kernels: str, _room: float) -> tuple[float, Passes]:
    context = (point.depth_tokens or 0) + (point.prompt_tokens or 0) + (point.output_tokens or 0) / 2
    seconds = 1 / need(point.output_tps, "output_tps") if not point.tpot_ms_mean else point.tpot_ms_mean / 1e3
    return seconds, ((1.0, decode(1.0, max(1.0, context))),)


def offline(point: Point, kernels: str, room: float) -> tuple[float, Passes]:
    if kernels != "vllm":
        raise Unusable("a step of it is a point of its own")
    count, prompt = point.load_value, need(point.prompt_tokens, "prompt_tokens")
    output = need(point.output_tokens, "output_tokens")
    if count * (prompt + output) > room:
        raise Unusable("the KV pool is full: waves, not one batch")
    seconds = point.e2e_ms_mean / 1e3 if point.e2e_ms_mean and point.load == "offline" else None
    if output <= 1:
        return need(point.ttft_ms_mean, "ttft_ms_mean") / 1e3, prompts(count, prompt, budget(point, kernels))
    seconds = seconds or count * output / need(point.output_tps, "output_tps")
    steps = decode(count, prompt + output / 2)
    return seconds, (*prompts(count, prompt, budget(point, kernels)), (output - 1, steps))


def closed(point: Point, kernels: str, room: float) -> tuple[float, Passes]:
    """Time per output token of streams kept in flight; each step carries its share of the others' prompts."""
    if kernels != "vllm":
        raise Unusable("the slots of the server decide its batch")
    if point.gpu_count > 1 and catalog.model(point.model).experts:
        raise Unusable("how the experts are split over the cards is not stated")
    streams = point.load_value
    prompt, output = need(point.prompt_tokens, "prompt_tokens"), need(point.output_tokens, "output_tokens")
    if streams * (prompt + output) > room or streams > (point.slots or 256):
        raise Unusable("more streams than run at once")
    seconds = need(point.tpot_ms_mean or point.itl_ms_mean, "tpot_ms_mean") / 1e3
    share = (streams - 1) / output
    beside = prompts(1.0, prompt, budget(point, kernels))
    step = ((1.0, decode(streams, prompt + output / 2)),)
    return seconds, (*step, *((share * times, work) for times, work in beside))


READERS: dict[str, Callable[[Point, str, float], tuple[float, Passes]]] = {
    "decode_step": decode_step,
    "prefill": prefill,
    "microbatch": microbatch,
    "single": single,
    "offline": offline,
    "burst": offline,
    "closed": closed,
}
