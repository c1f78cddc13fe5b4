"""Rebuilds measured step tables from recordings: `python -m calibration.tables.tabulate RECORDINGS`."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

from calibration.tables.bench_table import from_batched_bench
from calibration.tables.client_latency import ClientLatency, from_logged_steps, from_prompt_timings
from calibration.tables.iteration_table import Iteration, from_iterations, read_iterations
from calibration.tables.steptable import StepTable
from sim.errors import BadScenario, SimctlError, UsageError

MEASUREMENTS = Path(__file__).parents[1] / "measurements"
MODEL = "rand-78m: random-weight Llama, 78.7M parameters, 12 layers, 12 heads, 4 KV heads, hidden 768"
MACHINE = "2-core AMD EPYC (Zen 4 VM), 24 GB; the engine computes on one core"
WARM_UP_REQUESTS = 4  # the client sends these before the first level and does not record them
LATENCY = "latencies: request rows of one user"


def build_tables(recordings: Path) -> dict[str, StepTable]:
    """Every committed table by file name, out of a folder with llamacpp-cpu and vllm-cpu in it."""
    return {**_llama_tables(recordings / "llamacpp-cpu"), **_vllm_tables(recordings / "vllm-cpu")}


def _llama_tables(folder: Path) -> dict[str, StepTable]:
    rows = _jsonl(folder / "batched_bench_t1.jsonl")
    latency = from_prompt_timings(_jsonl(folder / "np4.jsonl"))
    source = _source("llama.cpp b11434, F16, 1 thread", f"batched_bench_t1.jsonl, second run; {LATENCY} of np4.jsonl")
    assumed = source | {
        "assumed": "a split cache costs what the benchmark's unified one did, masked cells not told apart"
    }
    return {
        "rand78m-llamacpp-split": latency.on(from_batched_bench(rows, unified=False, source=assumed)),
        "rand78m-llamacpp-unified": latency.on(from_batched_bench(rows, unified=True, source=source)),
    }


def _vllm_tables(folder: Path) -> dict[str, StepTable]:
    latency = from_logged_steps(
        _jsonl(folder / "seqs128_b2048.jsonl"), _iterations(folder / "seqs128_b2048.iterations.csv"), WARM_UP_REQUESTS
    )
    names = ("seqs128_b2048", "seqs64_kv2048tok")
    return {f"rand78m-vllm-{name}": _vllm_table(folder, name, latency) for name in names}


def _vllm_table(folder: Path, name: str, latency: ClientLatency) -> StepTable:
    made_from = f"{name}.iterations.csv; {LATENCY} and bursts of seqs128_b2048.jsonl"
    source = _source("vLLM 0.32.0 CPU, bf16, synchronous scheduling", made_from)
    return latency.on(from_iterations(_iterations(folder / f"{name}.iterations.csv"), source=source))


def _source(engine: str, made_from: str) -> dict[str, str]:
    return {"engine": engine, "model": MODEL, "machine": MACHINE, "made_from": made_from, "licence": "Apache-2.0"}


def _jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _text(path).splitlines() if line.strip()]


def _iterations(path: Path) -> list[Iteration]:
    return read_iterations(io.StringIO(_text(path)))


def _text(path: Path) -> str:
    """A recording's text; it may be kept compressed."""
    packed = path.with_name(path.name + ".gz")
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode("utf-8")
    if not path.exists():
        raise BadScenario(f"recording {path}: no such file, nor {packed.name}")
    return path.read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write every table next to the others and name them."""
    try:
        if len(arguments) != 1:
            raise UsageError("usage: python -m calibration.tables.tabulate RECORDINGS_FOLDER")
        for name, table in build_tables(Path(arguments[0])).items():
            table.save(MEASUREMENTS / f"{name}.json")
            print(f"{name}.json")
    except SimctlError as error:
        print(f"tabulate: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
