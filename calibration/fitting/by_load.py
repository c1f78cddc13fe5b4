"""The passes that a measured time was spent on, by the kind of load."""

import re
from collections.abc import Callable
from math import sqrt

from calibration import catalog
from calibration.fitting.passes import Passes, Unusable, decode, need, prompts, spanned, with_prompts
from calibration.points import Point
from calibration.terms import RAGGED, Work

MOST_STEP_ROWS = 64  # answers come by so many at once; what has more rows is a prompt
SPLIT, WHOLE_EXPERTS = re.compile(r"tensor.parallel.size="), re.compile(r"(expert|data).parallel")
USUAL_SLOTS = 256  # of vLLM, where they are not stated
CROWDED = 2.0  # standard deviations above the average of those who come as they like


def decode_step(point: Point, _kernels: str, _room: float) -> tuple[float, Passes]:
    """One step of N sequences."""
    context = (point.depth_tokens or 0) + (point.prompt_tokens or 0)
    rows = point.load_value
    seconds = point.tpot_ms_mean / 1e3 if point.tpot_ms_mean else rows / need(point.output_tps, "output_tps")
    return seconds, ((1.0, decode(rows, context + 1)),)


def prefill(point: Point, kernels: str, _room: float) -> tuple[float, Passes]:
    """The passes over N prompt tokens."""
    seconds = need(point.ttft_ms_mean or point.ttft_ms_p50, "ttft_ms_mean") / 1e3
    length = point.prompt_tokens or point.load_value
    return seconds, prompts(point, kernels, point.load_value / length, length, point.depth_tokens or 0.0)


def microbatch(point: Point, _kernels: str, _room: float) -> tuple[float, Passes]:
    """One prompt in physical batches of N rows: the products of a step of N sequences, the attention of one."""
    rate = need(point.output_tps, "output_tps")
    rows = point.load_value
    length = point.prompt_tokens or rows
    context = spanned(length, point.depth_tokens or 0.0, rows) / length  # cells that a row goes over, on the average
    if rows > MOST_STEP_ROWS:
        return rows / rate, ((1.0, Work(0.0, rows, 1.0, 0.0, rows * context)),)
    return rows / rate, ((1.0, Work(rows, 0.0, 1.0, context, rows * context)),)


def single(point: Point, _kernels: str, _room: float) -> tuple[float, Passes]:
    """A step of a lone stream, in the middle of its answer."""
    context = (point.depth_tokens or 0) + (point.prompt_tokens or 0) + (point.output_tokens or 0) / 2
    seconds = 1 / need(point.output_tps, "output_tps") if not point.tpot_ms_mean else point.tpot_ms_mean / 1e3
    return seconds, ((1.0, decode(1.0, max(1.0, context))),)


def offline(point: Point, kernels: str, room: float) -> tuple[float, Passes]:
    """N prompts as one batch, from the first pass to the last step."""
    if kernels != "vllm":
        raise Unusable("a step of it is a point of its own")
    count, prompt = point.load_value, need(point.prompt_tokens, "prompt_tokens")
    output, kept = need(point.output_tokens, "output_tokens"), point.depth_tokens or 0.0
    if count * (kept + prompt + output) > room:
        raise Unusable("the KV pool is full: waves, not one batch")
    first = prompts(point, kernels, count, prompt, kept)
    if output <= 1:
        return need(point.ttft_ms_mean, "ttft_ms_mean") / 1e3, first
    seconds = point.e2e_ms_mean / 1e3 if point.e2e_ms_mean and point.load == "offline" else None
    seconds = seconds or count * output / need(point.output_tps, "output_tps")
    return seconds, (*first, (output - 1, decode(count, kept + prompt + output / 2)))


def closed(point: Point, kernels: str, room: float) -> tuple[float, Passes]:
    """Time per output token of streams kept in flight."""
    return streamed(point, kernels, room, point.load_value, most=point.load_value)


def arriving(point: Point, kernels: str, room: float) -> tuple[float, Passes]:
    """The same of requests that come at a rate: each finds as many others at their answers as there are on average."""
    others = point.load_value * need(point.output_tokens, "output_tokens") * token_s(point)
    return streamed(point, kernels, room, 1 + others, most=1 + others + CROWDED * sqrt(others))


def streamed(point: Point, kernels: str, room: float, streams: float, *, most: float) -> tuple[float, Passes]:
    """Time per output token of so many streams on average; some of the steps carry the others' prompts too."""
    if kernels != "vllm":
        raise Unusable("the slots of the server decide its batch")
    if point.gpu_count > 1 and catalog.model(point.model).experts and not splits_experts(point):
        raise Unusable("that the cards split every expert is not stated: tensor_parallel_size=N, or --gpus N")
    prompt, output = need(point.prompt_tokens, "prompt_tokens"), need(point.output_tokens, "output_tokens")
    if most * (prompt + output) > room or most > (point.slots or USUAL_SLOTS):
        raise Unusable("more streams than run at once")
    seconds = token_s(point)
    began = (streams - 1) / output  # prompts of others in a step
    times, beside = prompts(point, kernels, 1.0, prompt)[0]
    mixed = min(1.0, began * times)  # of the steps
    step = decode(streams, RAGGED[kernels] * (prompt + output / 2))
    if not mixed:
        return seconds, ((1.0, step),)
    prompted = Work(streams, 0.0, streams, step.cells, 0.0, step.cells)
    return seconds, ((1.0 - mixed, step), (mixed, with_prompts(prompted, beside, began * times / mixed)))


def token_s(point: Point) -> float:
    """Seconds between two tokens of an answer."""
    return need(point.tpot_ms_mean or point.itl_ms_mean, "tpot_ms_mean") / 1e3


def splits_experts(point: Point) -> bool:
    """Whether the server is said to split every layer over its cards, its experts too."""
    return bool(SPLIT.search(point.engine_options)) and not WHOLE_EXPERTS.search(point.engine_options)


READERS: dict[str, Callable[[Point, str, float], tuple[float, Passes]]] = {
    "decode_step": decode_step,
    "prefill": prefill,
    "microbatch": microbatch,
    "single": single,
    "offline": offline,
    "burst": offline,
    "closed": closed,
    "poisson": arriving,
    "constant": arriving,
}
