"""A measurement's load as something that can be run: a workload for the simulator, or passes to be priced."""

import re
from dataclasses import dataclass
from typing import cast

from calibration.points import Point
from sim.cli.measured import clients
from sim.cli.measured.server import NotComparable, Shape, engine_of
from sim.workload import Workload
from workloads.arrivals import Load
from workloads.kept import Kept
from workloads.open_loop import Burst, OpenLoop
from workloads.users import ClosedLoop

BLANK_PROMPT, BLANK_OUTPUT = 64, 128
BENCH_PROMPT, BENCH_OUTPUT = 512, 128  # llama-bench's own
CLOSED_ROUNDS = 10  # requests of each user, as serving benchmarks send
OPEN_REQUESTS = 300
MOST_REQUESTS = 20_000
ARRIVALS = ("poisson", "constant")
REQUESTS = re.compile(r"\b(\d+) (?:requests|prompts)\b|\bnum_prompts[ =](\d+)")


@dataclass(frozen=True, slots=True)
class Served:
    """Requests to a server; `whole` where the figures are those of all of them as one batch."""

    workload: Workload
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Passes:
    """Prompts side by side, so many tokens a pass, and then a token for each in every step; no scheduler."""

    sequences: int
    prompt: int
    output: int
    depth: int  # context that was there before
    per_pass: int | None = None  # None: as the engine cuts them
    averaged: bool = False  # the time of one pass is asked for


@dataclass(frozen=True, slots=True)
class Step:
    """One step of so many sequences."""

    rows: int
    depth: int


Run = Served | Passes | Step


@dataclass(frozen=True, slots=True)
class Asked:
    """What is run for a measurement, the shape of its requests, and what had to be assumed."""

    run: Run
    shape: Shape
    assumed: tuple[str, ...]


def asked(point: Point) -> Asked:
    """What was run."""
    engine = engine_of(point)
    if point.load not in ARRIVALS and round(point.load_value) < 1:
        raise NotComparable(f"load_value {point.load_value:g} of load {point.load} is less than one")
    if point.load == "decode_step":
        return _decode_step(point)
    if point.load in ("prefill", "microbatch"):
        return _prompt_passes(point, engine)
    if is_bench(point, engine):
        return _bench(point)
    return _served(point)


def is_bench(point: Point, engine: str) -> bool:
    """Whether a bench program of llama.cpp measured it: no server, no latencies of many requests."""
    if engine != "llama_cpp" or point.load not in ("single", "offline"):
        return False
    of_requests = (point.ttft_ms_p50, point.ttft_ms_p99, point.e2e_ms_mean, point.e2e_ms_p99, point.success_rate)
    return point.load == "offline" or all(figure is None for figure in of_requests)


def _decode_step(point: Point) -> Asked:
    depth = round((point.depth_tokens or 0) + (point.prompt_tokens or 0))
    told = () if depth or point.depth_tokens is not None else ("depth blank: none",)
    return Asked(Step(round(point.load_value), depth), Shape(depth, 1), told)


def _prompt_passes(point: Point, engine: str) -> Asked:
    """One prompt in physical batches of N, or one step of N prompt tokens."""
    if point.load == "microbatch" and engine != "llama_cpp":
        raise NotComparable(f"{point.engine} has no physical batches")
    size, depth = round(point.load_value), round(point.depth_tokens or 0)
    if point.load == "microbatch":
        prompt = round(point.prompt_tokens or BENCH_PROMPT)
        told = () if point.prompt_tokens else (f"prompt_tokens blank: {BENCH_PROMPT}",)
        return Asked(Passes(1, prompt, 0, depth, size, averaged=True), Shape(prompt + depth, 0), told)
    prompt = min(size, round(point.prompt_tokens or size)) or size
    sequences = max(1, size // prompt)
    per_pass = size if engine == "vllm" else None
    return Asked(Passes(sequences, prompt, 0, depth, per_pass), Shape(prompt + depth, 0), ())


def _bench(point: Point) -> Asked:
    """All prompts first and then all answers; a test of prompts alone has no answers."""
    single = point.load == "single"
    prompt = round(point.prompt_tokens or (0 if single or point.prompt_tokens == 0 else BENCH_PROMPT))
    output, depth = round(point.output_tokens or 0), round(point.depth_tokens or 0)
    assumed: list[str] = []
    if point.prompt_tokens is None and not single:
        assumed.append(f"prompt_tokens blank: {prompt}")
    if not output and (point.output_tps or point.tpot_ms_mean or not prompt):
        output = BENCH_OUTPUT
        assumed.append(f"output_tokens blank: {output}")
    run = Passes(round(point.load_value), prompt, output, depth)
    return Asked(run, Shape(prompt + depth, output), tuple(assumed))


def _served(point: Point) -> Asked:
    prompt, output = round(point.prompt_tokens or 0), round(point.output_tokens or 0)
    kept, assumed = _kept_tokens(point), _about_lengths(point)
    if not prompt:
        prompt, assumed = BLANK_PROMPT, (*assumed, f"prompt_tokens blank: {BLANK_PROMPT}")
    if not output:
        output, assumed = BLANK_OUTPUT, (*assumed, f"output_tokens blank: {BLANK_OUTPUT}")
    if point.depth_tokens and not kept:
        prompt, assumed = prompt + round(point.depth_tokens), (*assumed, "depth_tokens computed with the prompt")
    workload = _workload(point, prompt, output)
    if point.load in ("closed", *ARRIVALS) and stated_requests(point) is None:
        assumed = (*assumed, f"requests not stated: {workload.requests}, from an empty server to its drain")
    if workload.requests > MOST_REQUESTS:
        raise NotComparable(f"{workload.requests} requests are more than the {MOST_REQUESTS} that are simulated")
    if kept:
        workload = cast(Workload, Kept(workload, kept, round(point.load_value)))
        assumed = (*assumed, "depth_tokens kept of requests before")
    if clients.come_by_http(point):
        work_s = clients.front_end_work_s(point)
        workload = clients.behind_front_end(workload, work_s)
        between = f"{clients.WAY_S * 1000:g} ms between client and engine"
        assumed = (*assumed, f"{between}, and {work_s * 1000:g} ms of one front end")
    return Asked(Served(workload, point.load == "offline"), Shape(kept + prompt, output), assumed)


def _kept_tokens(point: Point) -> int:
    """What all prompts begin with and the server holds; of arrivals nobody knows how many are there at a time."""
    return 0 if point.load in ARRIVALS else round(point.depth_tokens or 0)


def _about_lengths(point: Point) -> tuple[str, ...]:
    """What is taken for the lengths of single requests."""
    if clients.are_conversations(point):
        return ("lengths vary about the means as ShareGPT's do",)
    if point.load == "closed":
        return ("lengths spread by 10% about the means",) if clients.shares(point) is None else ()
    return () if point.load == "single" else ("lengths are the means",)


def _workload(point: Point, prompt_tokens: int, output_tokens: int) -> Workload:
    """All of a benchmark's requests count: the first users arrive together, and the last ones leave a drain."""
    count = round(point.load_value)
    prompt, output = clients.lengths(point, prompt_tokens), clients.lengths(point, output_tokens)
    made: object
    if point.load in ("burst", "offline", "single"):
        made = Burst(1 if point.load == "single" else count, prompt, output)
    elif point.load == "closed":
        requests = max(count, stated_requests(point) or CLOSED_ROUNDS * count)
        made = ClosedLoop(count, requests, prompt, output)
    else:
        arrivals = Load(point.load, point.load_value).arrivals()
        made = OpenLoop(arrivals, stated_requests(point) or OPEN_REQUESTS, prompt, output)
    return cast(Workload, made)


def stated_requests(point: Point) -> int | None:
    """How many requests the notes say there were."""
    found = REQUESTS.search(point.notes)
    return int(found.group(1) or found.group(2)) if found else None
