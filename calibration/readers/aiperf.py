"""AIPerf's aggregated export, and that of genai-perf before it: one JSON object a run."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from calibration.parsing.jsonrows import json_rows
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.rows import Row, gather
from calibration.points import Point, Reading

FORMAT = "AIPerf"
PITFALLS = (
    Pitfall(
        "inter_token_latency is one mean a request: it stands as TPOT", lambda point: point.tpot_ms_mean is not None
    ),
    Pitfall("answers are counted by the client's tokenizer, which need not be what the server produced"),
    Pitfall("a concurrency of as many as there are requests is one burst", under("burst")),
    Pitfall("nothing was streamed: there is no TTFT and no TPOT", lambda point: point.ttft_ms_mean is None),
)

TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "sec": 1e3, "s": 1e3, "seconds": 1e3, "milliseconds": 1.0}
PATTERNS = ("poisson", "constant")
DEEPEST = 6  # levels of the configuration that are looked through


def recognises(head: str) -> bool:
    """By the names of its metrics; its file of single requests has no throughput."""
    return '"request_latency"' in head and '"request_throughput"' in head


def read(text: str, source: str, path: Path) -> Reading:
    """A point a run."""
    rows, broken = json_rows(text, str(path))
    points, rejected = gather(rows, partial(_point, source), str(path))
    return Reading(FORMAT, tuple(points), (*broken, *rejected), warnings=warnings(PITFALLS, points))


def _point(source: str, row: Row) -> Point:
    metrics = row.inside("records") if "records" in row else row
    succeeded = metrics.inside("request_count").amount("avg")
    failed = metrics.inside("error_request_count").amount("avg") or 0.0
    if succeeded == 0:
        raise metrics.refuse("request_count", "is 0")
    load, value = _load(row.inside("input_config"), None if succeeded is None else succeeded + failed)
    return Point(
        source_id=source,
        engine="",
        model=_model(row.inside("input_config")) or "unstated",
        load=load,
        load_value=value,
        prompt_tokens=metrics.inside("input_sequence_length").measured("avg"),
        output_tokens=metrics.inside("output_sequence_length").measured("avg"),
        output_tps=metrics.inside("output_token_throughput").measured("avg"),
        ttft_ms_mean=_ms(metrics, "time_to_first_token", "avg"),
        ttft_ms_p50=_ms(metrics, "time_to_first_token", "p50"),
        ttft_ms_p99=_ms(metrics, "time_to_first_token", "p99"),
        tpot_ms_mean=_ms(metrics, "inter_token_latency", "avg"),
        e2e_ms_mean=_ms(metrics, "request_latency", "avg"),
        e2e_ms_p99=_ms(metrics, "request_latency", "p99"),
        success_rate=succeeded / (succeeded + failed) if succeeded else None,
    )


def _ms(metrics: Row, name: str, statistic: str) -> float | None:
    metric = metrics.inside(name)
    value = metric.measured(statistic)
    if value is None:
        return None
    unit = metric.text("unit").lower() or "ms"
    if unit not in TO_MS:
        raise metric.refuse("unit", f"'{unit}' is not a unit of time")
    return value * TO_MS[unit]


def _load(config: Row, sent: float | None) -> tuple[str, float]:
    """The load that the configuration asks for; where it stands in there has changed from version to version."""
    rated = next((row for row in _within(config) if row.values.get(_rate_in(row))), None)
    if rated is not None:
        return _pattern(rated), rated.needed(_rate_in(rated))
    cap = next((row for row in _within(config) if row.values.get("concurrency")), None)
    if cap is None:
        raise config.refuse("concurrency", "neither a concurrency nor a request rate is stated")
    users = cap.needed("concurrency")
    cap.whole("concurrency")
    if users == 1:
        return "single", 1.0
    return ("burst", sent) if sent is not None and sent <= users else ("closed", users)


def _rate_in(row: Row) -> str:
    """What a table calls the rate of its requests: elsewhere than in a phase, `rate` may be of anything."""
    return "rate" if row.within.endswith("phases.") else "request_rate"


def _pattern(rate: Row) -> str:
    """How requests arrive at a rate."""
    named = ("arrival_pattern", "request_rate_mode", "type")
    name, pattern = next(((name, text) for name in named if (text := rate.text(name))), ("", "poisson"))
    if pattern not in PATTERNS:
        raise rate.refuse(name, f"'{pattern}' is none of the points table's loads")
    return pattern


def _model(config: Row) -> str:
    """The first model that is named; the key of the list has changed from version to version."""
    lists = [row.values.get("model_names") for row in _within(config)]
    lists += [config.values.get("model"), config.inside("models").values.get("items")]
    first = next((names[0] for names in lists if isinstance(names, list) and names), "")
    name = first.get("name") if isinstance(first, dict) else first
    return name if isinstance(name, str) else ""


def _within(row: Row, depth: int = 0) -> Iterator[Row]:
    """A table and the tables in it, from the outside in, lists of them included; phases that only warm up are not."""
    if row.values.get("exclude_from_results") is True:
        return
    yield row
    if depth < DEEPEST:
        for name, value in row.values.items():
            inner = value if isinstance(value, list) else [value]
            for one in inner:
                if isinstance(one, Mapping):
                    yield from _within(Row(one, row.line, f"{row.within}{name}."), depth + 1)
