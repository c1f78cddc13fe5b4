"""The results of a sweep as they are published: every field of the JSON, typed, before anything fills it."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from reports.closeup import CloseUp
from reports.comparison import Comparison
from reports.schema import decode, encode, schema_of
from sim.errors import BadScenario

SCHEMA_VERSION = 1

VariantStatus = Literal["ok", "does_not_fit", "not_supported"]
PointStatus = Literal["ok", "unstable", "does_not_fit"]
CliffStatus = Literal["found", "not_reached", "none"]
Trust = Literal["measured", "interpolated", "extrapolated", "datasheet"]
Judgement = Literal["pass", "fail", "undecided"]
Breached = Literal["ttft", "tpot", "e2e", "stall", "finished"]
Limit = Literal["context", "kv_blocks", "seq_slots", "prefill_budget", "decode_rate", "spill", "host_overhead", "queue"]


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """How a metric is computed, over what it is weighted and in which window it is taken."""

    formula: str
    weighting: str
    window: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Where the bytes go when the engine starts."""

    weights_gib: float
    kv_gib: float
    scratch_gib: float
    kv_tokens: int
    blocks: int | None
    slots: int | None
    context: int
    layers_on_host: int


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One row of the comparison: an engine with its options on a GPU, and whether it starts at all."""

    id: str
    engine: str
    version: str
    weights: str
    options: dict[str, Any]
    gpu: str
    gpus: int
    replicas: int
    status: VariantStatus
    reason: str | None
    missing_gib: float | None
    memory: Memory | None
    trust: Trust | None
    profile: str | None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How the attempted requests ended."""

    finished: int
    length: int
    rejected: int
    failed: int
    timed_out: int
    aborted: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over the seeds with the lowest and the highest of them."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Milliseconds: each figure is the mean over the seeds; low and high are the extremes of their p99."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    low: float | None
    high: float | None
    samples: int


@dataclass(frozen=True, slots=True)
class Queueing:
    """Mean wait before the engine and inside it, in milliseconds."""

    front: float | None
    engine: float | None


@dataclass(frozen=True, slots=True)
class TtftBreakdown:
    """Mean time to the first token by what it was spent on, in milliseconds."""

    front_door: float | None
    queue: float | None
    own_prefill: float | None
    others_prefill: float | None
    decode: float | None
    preemption: float | None
    spill: float | None


@dataclass(frozen=True, slots=True)
class Level:
    """A quantity over time: its mean weighted by time, and its maximum."""

    mean: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Waste:
    """Shares of the KV cache that hold nothing useful."""

    reserved: float | None
    internal: float | None
    external: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One load on one variant."""

    variant: str
    load: str
    users: int | None
    rate: float | None
    status: PointStatus
    window_s: float | None
    seeds: int
    requests: int
    outcomes: Outcomes
    attainment: float | None
    output_tps: Estimate
    request_rate: float | None
    ttft_ms: Distribution
    tpot_ms: Distribution
    itl_ms: Distribution
    stall_ms: Distribution
    e2e_ms: Distribution
    queue_ms: Queueing
    ttft_breakdown_ms: TtftBreakdown
    running: Level
    waiting: Level
    kv_used: Level
    kv_waste: Waste
    preemptions: int
    binding: Limit | None
    judgement: Judgement | None = None  # of the attainment against the target
    attainment_low: float | None = None  # the ends of its interval
    attainment_high: float | None = None
    trust: Trust | None = None  # of the steps that were taken


@dataclass(frozen=True, slots=True)
class SteepRise:
    """The interval of users within which p99 TTFT takes off, and how many times it grows there."""

    from_: int
    to: int
    height: float


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A run with one knob moved, and the capacity it had."""

    change: str
    capacity_users: int


@dataclass(frozen=True, slots=True)
class Cliff:
    """How many users a variant carries within the SLO, and what gives way beyond."""

    variant: str
    status: CliffStatus
    capacity_users: int | None
    first_failing_users: int | None
    low: int | None
    high: int | None
    people: int | None
    breached: Breached | None
    cliff: SteepRise | None
    stability_rate: float | None
    memory_cliff_slots: int | None
    cause: Limit | None
    knob: str | None
    counterfactual: Counterfactual | None
    trust: Trust | None
    reason: str | None = None  # what was seen that names the cause, in words


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """The capacity of a variant with one parameter of the scenario moved; parameters have their flags' names."""

    parameter: str
    value: float
    unit: str
    variant: str
    capacity_users: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """Everything a sweep found, and everything needed to repeat it."""

    schema_version: int
    simctl: str
    scenario: dict[str, Any]
    metric_definitions: dict[str, MetricDefinition]
    variants: tuple[VariantRow, ...]
    points: tuple[Point, ...]
    cliffs: tuple[Cliff, ...]
    warnings: tuple[str, ...]
    provenance: dict[str, Any]
    sensitivity: tuple[SensitivityRow, ...] = ()
    advice: tuple[str, ...] = ()  # what to do about it: headroom, and what to measure
    details: tuple[CloseUp, ...] = ()
    comparison: Comparison | None = None


def to_json(document: Document) -> dict[str, Any]:
    """The document as JSON values."""
    encoded: dict[str, Any] = encode(document)
    return encoded


def from_json(raw: Any) -> Document:
    """The document that parsed JSON holds."""
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BadScenario(f"results: schema_version is {version!r}, this simctl reads {SCHEMA_VERSION}")
    return decode(Document, raw, "results")


def to_text(document: Document) -> str:
    """The document as it is written to a file."""
    return json.dumps(to_json(document), indent=1, allow_nan=False) + "\n"


def published_schema() -> str:
    """The text of docs/results.schema.json; `python -m reports.document` prints it."""
    return json.dumps(schema_of(Document, "simctl results"), indent=1) + "\n"


if __name__ == "__main__":
    print(published_schema(), end="")
