"""Results as a sweep could find them, small enough to be checked by hand."""

from typing import Any

from reports.closeup import Bar, CloseUp, Life, Moment
from reports.document import (
    Cliff,
    Counterfactual,
    Distribution,
    Document,
    Estimate,
    Level,
    Memory,
    MetricDefinition,
    Outcomes,
    Point,
    Queueing,
    SensitivityRow,
    SteepRise,
    TtftBreakdown,
    VariantRow,
    Waste,
)

LOADS = (1, 2, 4, 8)


def spread(typical: float) -> Distribution:
    """A latency whose every percentile differs."""
    return Distribution(
        1.1 * typical, typical, 2 * typical, 3 * typical, 4 * typical, 3.5 * typical, 4.5 * typical, samples=2000
    )


def point(variant: str, users: int, **changes: Any) -> Point:
    """A load of as many users: waiting grows with every one of them."""
    waits = 100.0 * users
    values: dict[str, Any] = {
        "variant": variant,
        "load": "closed",
        "users": users,
        "rate": None,
        "status": "ok",
        "window_s": 60.0,
        "seeds": 3,
        "requests": 120 * users,
        "outcomes": Outcomes(119 * users, users, 0, 0, 0, 0),
        "attainment": 1.0 if users < 8 else 0.5,
        "output_tps": Estimate(90.0 * users, 85.0 * users, 95.0 * users),
        "request_rate": 0.5 * users,
        "ttft_ms": spread(waits + 50),
        "tpot_ms": spread(10.0 + users),
        "itl_ms": spread(9.0 + users),
        "stall_ms": spread(30.0 + users),
        "e2e_ms": spread(2000.0 + waits),
        "queue_ms": Queueing(0.0, waits),
        "ttft_breakdown_ms": TtftBreakdown(0.0, waits, 40.0, 5.0, 5.0, 0.0, 0.0),
        "running": Level(0.9 * users, float(users)),
        "waiting": Level(0.1 * users, 1.0),
        "kv_used": Level(0.05 * users, 0.06 * users),
        "kv_waste": Waste(0.01, 0.1, 0.0),
        "preemptions": 0,
        "binding": "seq_slots" if users == 8 else None,
    }
    return Point(**values | changes)


def variant(name: str, **changes: Any) -> VariantRow:
    """A row of the comparison that starts."""
    values: dict[str, Any] = {
        "id": name,
        "engine": "vllm",
        "version": "0.32",
        "weights": "bf16",
        "options": {"max_num_seqs": 256, "enforce_eager": False},
        "gpu": "a100-40g-sxm",
        "gpus": 1,
        "replicas": 1,
        "status": "ok",
        "reason": None,
        "missing_gib": None,
        "memory": Memory(15.0, 20.0, 1.5, 160_000, 10_000, None, 131_072, 0),
        "trust": "interpolated",
        "profile": "measured",
    }
    return VariantRow(**values | changes)


def cliff(name: str, **changes: Any) -> Cliff:
    """A capacity with everything known about it."""
    values: dict[str, Any] = {
        "variant": name,
        "status": "found",
        "capacity_users": 4,
        "first_failing_users": 8,
        "low": 3,
        "high": 6,
        "people": 21,
        "breached": "ttft",
        "cliff": SteepRise(4, 8, 5.5),
        "stability_rate": None,
        "memory_cliff_slots": None,
        "cause": "seq_slots",
        "knob": "--max-num-seqs",
        "counterfactual": Counterfactual("--max-num-seqs 512", 7),
        "trust": "interpolated",
    }
    return Cliff(**values | changes)


def closeup(name: str, *, slots: bool) -> CloseUp:
    """Three requests on one slot, or in one cache."""
    lives = (Life(0, 0.0, 0.0, 0.5, 2.0), Life(1, 0.2, 2.0, 2.4, 4.0), Life(2, 0.3, 4.0, None, 4.5))
    bars = (
        Bar(0, 0, 0.0, 0.5, "prompt"),
        Bar(0, 0, 0.5, 2.0, "decode"),
        Bar(None, 1, 0.2, 2.0, "queue"),
        Bar(None, 2, 0.3, 4.0, "queue"),
        Bar(0, 1, 2.0, 2.4, "prompt"),
        Bar(0, 1, 2.4, 4.0, "decode"),
        Bar(0, 2, 4.0, 4.5, "prompt"),
    )
    moments = tuple(Moment(0.5 * step, 100 * step, 1 + step % 2, step % 3) for step in range(9))
    return CloseUp(name, 8, 0, 1000, bars if slots else (), moments, lives)


SLOTTED = variant("ollama", engine="ollama", weights="q4_k_m", memory=Memory(4.3, 8.0, 1.0, 65_536, None, 8, 8192, 2))
LARGE = variant("vllm-70b", status="does_not_fit", reason="95.2 GiB missing", missing_gib=95.2, memory=None, trust=None)


def results(**changes: Any) -> Document:
    """An engine with slots, one with blocks, and one that does not fit."""
    names = ("ollama", "vllm")
    values: dict[str, Any] = {
        "schema_version": 1,
        "simctl": "0.1.0",
        "scenario": {"gpu": "a100-40g-sxm", "gpus": 1, "model": "llama-3.1-8b", "workload": "chat", "load": "closed"}
        | {"engine": ["ollama", "vllm"], "vram": None, "slo": "ttft=1000ms,tpot=50ms"},
        "metric_definitions": {"ttft_ms": MetricDefinition("first token - arrival", "each request", "measured")},
        "variants": (SLOTTED, variant("vllm"), LARGE),
        "points": tuple(point(name, users) for name in names for users in LOADS),
        "cliffs": (cliff("ollama", capacity_users=2, first_failing_users=4, cliff=None), cliff("vllm")),
        "warnings": ("blocks are an estimate",),
        "provenance": {"numpy": "2.4", "catalogue": {"a100-40g-sxm": {"name": "NVIDIA A100", "recalled": []}}},
        "sensitivity": tuple(
            SensitivityRow("prompt-tokens", value, "tokens", name, int(4000 / value), None, None)
            for name in names
            for value in (500.0, 1000.0, 2000.0)
        ),
        "advice": ("keep 20% headroom",),
        "details": (closeup("ollama", slots=True), closeup("vllm", slots=False)),
    }
    return Document(**values | changes)


EMPTY = Document(1, "0.1.0", {}, {}, (), (), (), (), {})
