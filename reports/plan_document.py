"""What a plan found, as it is published: deployments that carry the load, cheapest first, and why others do not."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from reports.document import Memory, Trust
from reports.schema import encode, schema_of

SCHEMA_VERSION = 1

Refusal = Literal["does_not_fit", "too_low", "not_supported", "no_price"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be carried: users, who pause that long between an answer and the next question."""

    users: int
    think_s: float
    in_flight: float | None  # requests at once, by Little's law, over all that carry them


@dataclass(frozen=True, slots=True)
class Hardware:
    """Cards that share one copy of the model, and what one of them costs."""

    gpu: str
    gpus: int
    usd_per_card_hour: float | None
    price_date: str  # empty where the source of the price has none


@dataclass(frozen=True, slots=True)
class Serving:
    """An engine as it is started."""

    label: str
    engine: str
    version: str
    weights: str
    options: dict[str, Any]  # those that were set, for whoever wants to start it


@dataclass(frozen=True, slots=True)
class Offer:
    """A deployment that carries the load within the SLO, as a run with all its copies showed."""

    hardware: Hardware
    serving: Serving
    replicas: int
    cards: int
    usd_per_hour: float
    capacity_users: int  # of one copy
    capacity_is_more: bool  # nobody looked beyond
    capacity_low: int | None  # at the slow end of the band of step times; None where nobody knows it
    capacity_high: int | None  # at the fast end
    headroom: float  # the share of what all copies carry that the load leaves free
    attainment: float
    ttft_p99_ms: float | None
    tpot_p50_ms: float | None
    output_tps: float  # under the load
    usd_per_million: float | None  # output tokens, with every copy at its capacity
    usd_per_million_at_load: float | None
    break_even_share: float | None  # of the time that this load must last to cost no more than the API
    memory: Memory
    trust: Trust


@dataclass(frozen=True, slots=True)
class Refused:
    """A deployment that does not carry the load, and why."""

    hardware: Hardware
    label: str
    weights: str | None
    why: Refusal
    told: str
    missing_gib: float | None
    capacity_users: int | None  # of one copy


@dataclass(frozen=True, slots=True)
class Step:
    """Up to how many users one copy of an engine is enough, on the hardware of the cheapest plan."""

    label: str
    carries: int


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """Everything a plan found, and everything needed to repeat it."""

    schema_version: int
    simctl: str
    kind: Literal["plan"]
    scenario: dict[str, Any]
    load: Load
    api_usd_per_million: float | None
    offers: tuple[Offer, ...]
    refused: tuple[Refused, ...]
    ladder: tuple[Step, ...]
    rule: str
    warnings: tuple[str, ...]
    provenance: dict[str, Any]


def to_text(document: PlanDocument) -> str:
    """The plan as it is written to a file."""
    return json.dumps(encode(document), indent=1, allow_nan=False) + "\n"


def published_schema() -> str:
    """The text of docs/plan.schema.json; `python -m reports.plan_document` prints it."""
    return json.dumps(schema_of(PlanDocument, "simctl plan"), indent=1) + "\n"


if __name__ == "__main__":
    print(published_schema(), end="")
