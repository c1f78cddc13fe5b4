"""`vllm bench serve` (and its sweeps): one JSON object a run, in a file, in a list or a line each."""

from functools import partial
from pathlib import Path

from calibration.parsing.jsonrows import json_rows
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.rows import Row, gather, ratio
from calibration.points import Point, Reading

FORMAT = "vllm bench serve"
PITFALLS = (
    Pitfall("a TTFT counts from when the client sends: waiting for its own cap is outside", under("closed", "single")),
    Pitfall("a burst's tail runs at a small batch: it is no closed loop of as many", under("burst")),
    Pitfall("ITL is between streamed pieces of several tokens each", lambda point: SPECULATIVE in point.notes),
    Pitfall("P99 of fewer than 100 requests is about their maximum", lambda point: FEW in point.notes),
)
ASSUMED = {"engine": "vllm"}

# Backends of the client that no other engine's server answers.
ENGINES = {
    "tgi": "tgi",
    "sglang": "sglang",
    "sglang-oai": "sglang",
    "sglang-oai-chat": "sglang",
    "tensorrt-llm": "tensorrt-llm",
    "llama.cpp": "llama.cpp",
    "deepspeed-mii": "deepspeed-mii",
}
SPECULATIVE = "speculative decoding"
FEW = "few requests"
UNLIMITED = ("inf", "infinity", "")
NEVER_SATURATED = 0.95  # of the rate that was asked for, carried through
OPTIONS = ("max_num_batched_tokens", "gpu_memory_utilization", "enforce_eager", "block_size", "kv_cache_dtype")


def recognises(head: str) -> bool:
    """By what every version writes before its figures."""
    return '"request_rate"' in head and '"num_prompts"' in head and '"model_id"' in head


def read(text: str, source: str, path: Path) -> Reading:
    """A point a run; runs in which nothing succeeded are refused."""
    rows, broken = json_rows(text, str(path))
    points, rejected = gather(rows, partial(point, source), str(path))
    return Reading(FORMAT, tuple(points), (*broken, *rejected), warnings=warnings(PITFALLS, points))


def point(source: str, row: Row) -> Point:
    """One run under the names of the JSON keys."""
    completed, prompts = row.needed("completed"), row.needed("num_prompts")
    if completed > prompts:
        raise row.refuse("completed", f"{completed:g} requests of {prompts:g} sent")
    load, value = _load(row, prompts)
    return Point(
        source_id=source,
        engine=ENGINES.get(row.text("backend"), ""),
        engine_version=row.text("engine_version"),
        engine_options=";".join(f"{name.replace('_', '-')}={row.text(name)}" for name in OPTIONS if name in row),
        gpu=row.text("gpu") or "unstated",
        gpu_count=row.whole("gpu_count") or row.whole("tensor_parallel_size") or 1,
        model=row.text("model_id") or "unstated",
        weights=row.text("weights"),
        load=load,
        load_value=value,
        slots=row.whole("max_num_seqs") or None,
        context=row.whole("max_model_len") or None,
        prompt_tokens=ratio(row.amount("total_input_tokens"), completed),
        output_tokens=ratio(row.amount("total_output_tokens"), completed),
        output_tps=row.measured("output_throughput"),
        ttft_ms_mean=row.measured("mean_ttft_ms"),
        ttft_ms_p50=row.measured("median_ttft_ms"),
        ttft_ms_p99=row.measured("p99_ttft_ms"),
        itl_ms_mean=row.measured("mean_itl_ms"),
        itl_ms_p99=row.measured("p99_itl_ms"),
        tpot_ms_mean=row.measured("mean_tpot_ms"),
        e2e_ms_mean=row.measured("mean_e2el_ms"),
        e2e_ms_p99=row.measured("p99_e2el_ms"),
        success_rate=completed / prompts,
        notes="; ".join(_notes(row, prompts)),
    )


def _load(row: Row, prompts: float) -> tuple[str, float]:
    """The kind of load that the rate and the client's cap come to."""
    if "ramp_up_strategy" in row:
        raise row.refuse("ramp_up_strategy", "a load that grows while it is measured is none of the points table's")
    cap = row.whole("max_concurrency")
    if row.text("request_rate").lower() in UNLIMITED:
        return _closed(cap, prompts) if cap else ("burst", prompts)
    rate = row.needed("request_rate")
    if cap and not _carried(row, rate):
        return _closed(cap, prompts)
    burstiness = row.amount("burstiness")
    if burstiness not in (None, 1):
        raise row.refuse("burstiness", f"arrivals of burstiness {burstiness:g} are none of the points table's loads")
    return "poisson", rate


def _closed(cap: int, prompts: float) -> tuple[str, float]:
    if cap == 1:
        return "single", 1.0
    return ("burst", prompts) if cap >= prompts else ("closed", float(cap))


def _notes(row: Row, prompts: float) -> list[str]:
    notes = [f"{prompts:g} prompts"]
    rate = row.text("request_rate")
    if "max_concurrency" in row and rate.lower() not in UNLIMITED:
        notes.append(f"rate {rate} under a cap of {row.text('max_concurrency')} in flight")
    elif rate.lower() not in UNLIMITED and not _carried(row, row.needed("request_rate")):
        notes.append(f"only {row.text('request_throughput')} of {rate} requests a second were carried")
    if any(name.startswith("spec_decode") for name in row.values):
        notes.append(SPECULATIVE)
    if row.needed("completed") < 100:
        notes.append(FEW)
    if row.text("run_number") == "0":
        notes.append("first run of its server, which may include warming up")
    return notes


def _carried(row: Row, rate: float) -> bool:
    """Whether the server kept up with the rate that was asked for, as far as the row says."""
    throughput = row.amount("request_throughput")
    return throughput is None or throughput >= NEVER_SATURATED * rate
