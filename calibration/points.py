"""A measurement of a real server or engine as one row of the points table, which every reader turns its format into."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ENGINES = ("vllm", "llama.cpp", "ollama", "tensorrt-llm", "sglang", "tgi", "deepspeed-mii")
LOADS = ("single", "closed", "burst", "offline", "poisson", "constant", "decode_step", "prefill", "microbatch")


@dataclass(frozen=True, slots=True)
class Point:
    """What was run and what was measured; None means that the source does not say. Fields are the table's columns."""

    source_id: str
    engine: str
    load: str
    load_value: float  # prompts of a batch or burst, users, requests a second, or rows of a step: as the load says
    engine_version: str = ""
    engine_options: str = ""  # the engine's own names, `;` between them
    gpu: str = "unstated"
    gpu_count: int = 1
    model: str = "unstated"
    weights: str = ""
    slots: int | None = None  # NUM_PARALLEL, -np or max_num_seqs
    context: int | None = None  # of a slot, or the model's
    kv_gib: float | None = None
    kv_tokens: int | None = None
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    depth_tokens: float | None = None  # context that was there before
    output_tps: float | None = None
    ttft_ms_mean: float | None = None
    ttft_ms_p50: float | None = None
    ttft_ms_p99: float | None = None
    itl_ms_mean: float | None = None
    itl_ms_p99: float | None = None
    tpot_ms_mean: float | None = None
    e2e_ms_mean: float | None = None
    e2e_ms_p99: float | None = None
    success_rate: float | None = None
    notes: str = ""


def noted(*notes: str) -> str:
    """Notes in one line, without those that are blank."""
    return "; ".join(filter(None, notes))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that could not be used: where it stands and why."""

    file: str
    line: int | None  # counted from 1; None where the format has no lines
    field: str
    reason: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file held: points, rows that were refused, and facts of the server that measurements depend on."""

    format: str
    points: tuple[Point, ...]
    rejected: tuple[Rejected, ...] = ()
    facts: Mapping[str, str | float] = field(default_factory=dict)  # as kv_tokens, blocks, engine_version
    warnings: tuple[str, ...] = ()  # pitfalls of the format that touch these figures
