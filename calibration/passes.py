"""The passes that a measured time was spent on, by the kind of load."""

import re
from collections.abc import Callable
from math import ceil

import numpy as np

from calibration import catalog
from calibration.points import Point
from calibration.terms import RAGGED, Work

PROMPT_BUDGET = {"vllm": 8192, "llama.cpp": 512}  # prompt tokens of one pass, by default
BUDGET_NAMES = ("n-ubatch", "ubatch", "ubatch-size", "ub", "max-num-batched-tokens")
MOST_STEP_ROWS = 64  # answers come by so many at once; what has more rows is a prompt
SPLIT, WHOLE_EXPERTS = re.compile(r"tensor.parallel.size="), re.compile(r"(expert|data).parallel")
SPAN = 256  # llama.cpp goes over cells by so many
USUAL_SLOTS = 256  # of vLLM, where they are not stated

Passes = tuple[tuple[float, Work], ...]  # how often, and what each did


class Unusable(Exception):
    """A point that says too little about the time of passes."""


def decode(rows: float, context: float) -> Work:
    """A step of so many rows, each behind so much context."""
    return Work(rows, 0.0, rows, rows * context, 0.0)


def prompts(point: Point, kernels: str, count: float, length: float, depth: float = 0.0) -> Passes:
    """The passes over so many prompts behind so much context, filled up to the budget."""
    total = count * length
    number = ceil(total / budget(point, kernels))
    cells = count * (spanned(length, depth, budget(point, kernels)) if kernels == "llama.cpp" else seen(length, depth))
    return ((number, Work(0.0, total / number, count / number, 0.0, cells / number)),)


def seen(length: float, depth: float) -> float:
    """Cells that the rows of a prompt attend to: each its own past."""
    return length * (depth + (length + 1) / 2)


def spanned(length: float, depth: float, per_pass: float) -> float:
    """Cells that the rows of a prompt go over where each goes over all that are filled by the end of its pass."""
    ends = [min(length, start + per_pass) for start in np.arange(0, length, per_pass)]
    rows = np.diff([0.0, *ends])
    return float(sum(rows * np.ceil((depth + np.array(ends)) / SPAN) * SPAN))


def need(value: float | None, name: str) -> float:
    """A figure that the load cannot do without."""
    if value is None or not value > 0:
        raise Unusable(f"{name} is not stated")
    return value


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


def budget(point: Point, kernels: str) -> float:
    """Prompt tokens that one pass takes."""
    for part in point.engine_options.replace(",", ";").split(";"):
        name, _, value = part.strip().lstrip("-").partition("=")
        if name.replace("_", "-") in BUDGET_NAMES:
            return float(value)
    return PROMPT_BUDGET[kernels]


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
    output = need(point.output_tokens, "output_tokens")
    if count * (prompt + output) > room:
        raise Unusable("the KV pool is full: waves, not one batch")
    seconds = point.e2e_ms_mean / 1e3 if point.e2e_ms_mean and point.load == "offline" else None
    if output <= 1:
        return need(point.ttft_ms_mean, "ttft_ms_mean") / 1e3, prompts(point, kernels, count, prompt)
    seconds = seconds or count * output / need(point.output_tps, "output_tps")
    steps = decode(count, prompt + output / 2)
    return seconds, (*prompts(point, kernels, count, prompt), (output - 1, steps))


def closed(point: Point, kernels: str, room: float) -> tuple[float, Passes]:
    """Time per output token of streams kept in flight; some of the steps carry the others' prompts too."""
    if kernels != "vllm":
        raise Unusable("the slots of the server decide its batch")
    if point.gpu_count > 1 and catalog.model(point.model).experts and not splits_experts(point):
        raise Unusable("that the cards split every expert is not stated: tensor_parallel_size=N, or --gpus N")
    streams = point.load_value
    prompt, output = need(point.prompt_tokens, "prompt_tokens"), need(point.output_tokens, "output_tokens")
    if streams * (prompt + output) > room or streams > (point.slots or USUAL_SLOTS):
        raise Unusable("more streams than run at once")
    seconds = need(point.tpot_ms_mean or point.itl_ms_mean, "tpot_ms_mean") / 1e3
    began = (streams - 1) / output  # prompts of others in a step
    times, beside = prompts(point, kernels, 1.0, prompt)[0]
    mixed = min(1.0, began * times)  # of the steps
    step = decode(streams, RAGGED[kernels] * (prompt + output / 2))
    if not mixed:
        return seconds, ((1.0, step),)
    prompted = Work(streams, 0.0, streams, step.cells, 0.0, step.cells)
    return seconds, ((1.0 - mixed, step), (mixed, with_prompts(prompted, beside, began * times / mixed)))


def splits_experts(point: Point) -> bool:
    """Whether the server is said to split every layer over its cards, its experts too."""
    return bool(SPLIT.search(point.engine_options)) and not WHOLE_EXPERTS.search(point.engine_options)


def with_prompts(step: Work, beside: Work, count: float) -> Work:
    """A step that carries so many passes' worth of prompts too."""
    return step._replace(
        prompt=count * beside.prompt,
        outputs=step.outputs + count * beside.outputs,
        prefill_cells=count * beside.prefill_cells,
    )


READERS: dict[str, Callable[[Point, str, float], tuple[float, Passes]]] = {
    "decode_step": decode_step,
    "prefill": prefill,
    "microbatch": microbatch,
    "single": single,
    "offline": offline,
    "burst": offline,
    "closed": closed,
}
