"""GuideLLM's report: a JSON object whose list of benchmarks holds a distribution of each figure."""

from functools import partial
from pathlib import Path

from calibration.parsing.jsonrows import parsed
from calibration.parsing.pitfalls import Pitfall, under, warnings
from calibration.parsing.rows import Row, gather, ratio
from calibration.points import Point, Reading, Rejected
from sim.errors import BadScenario

FORMAT = "GuideLLM"
PITFALLS = (
    Pitfall(
        "inter_token_latency is one mean a request: it stands as TPOT", lambda point: point.tpot_ms_mean is not None
    ),
    Pitfall("a throughput run that sends no more than it may keep in flight is a burst", under("burst")),
)

STRATEGY_AT = (("config", "strategy"), ("args", "strategy"), ("scheduler", "strategy"))
BACKEND_AT = (("config", "backend"), ("args", "backend"), ("benchmarker", "backend"), ("worker",))
TOTALS_AT = (("metrics", "request_totals"), ("run_stats", "requests_made"), ("scheduler_metrics", "requests_made"))


def recognises(head: str) -> bool:
    """By its benchmarks' own type, or the version that newer reports begin with."""
    own = ('"generative_benchmark"', '"time_per_output_token_ms"', '"inter_token_latency_ms"')
    return '"guidellm_version"' in head or ('"benchmarks"' in head and any(name in head for name in own))


def read(text: str, source: str, path: Path) -> Reading:
    """A point a benchmark of the report."""
    report = _report(text, str(path))
    listed = report.values.get("benchmarks")
    if not isinstance(listed, list):
        raise report.refuse("benchmarks", "is not a list")
    rows = [Row(one, None, f"benchmarks[{index}].") for index, one in enumerate(listed) if isinstance(one, dict)]
    others = [index for index, one in enumerate(listed) if not isinstance(one, dict)]
    points, rejected = gather(rows, partial(_point, source), str(path))
    rejected += [Rejected(str(path), None, f"benchmarks[{index}]", "is not an object") for index in others]
    version = report.inside("metadata").text("guidellm_version")
    return Reading(
        FORMAT,
        tuple(points),
        tuple(rejected),
        {"guidellm_version": version} if version else {},
        warnings(PITFALLS, points),
    )


def _report(text: str, file: str) -> Row:
    try:
        report = parsed(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise BadScenario(f"{file}:{line}: not valid JSON: {error}") from None
    if not isinstance(report, dict):
        raise BadScenario(f"{file}:1: an object was expected, not a {type(report).__name__}")
    return Row(report)


def _point(source: str, row: Row) -> Point:
    totals = _first(row, TOTALS_AT)
    succeeded, failed = totals.needed("successful"), totals.amount("errored") or 0.0
    load, value = _load(row, succeeded + failed + (totals.amount("incomplete") or 0.0))
    latency = _successful(row, "request_latency")
    ttft = _successful(row, "time_to_first_token_ms")
    mean_s, p99_s = latency.measured("mean"), latency.inside("percentiles").measured("p99")
    return Point(
        source_id=source,
        engine="",
        model=_model(row) or "unstated",
        load=load,
        load_value=value,
        prompt_tokens=_tokens(row, "prompt_token_count", succeeded),
        output_tokens=_tokens(row, "output_token_count", succeeded),
        output_tps=_successful(row, "output_tokens_per_second").measured("mean"),
        ttft_ms_mean=ttft.measured("mean"),
        ttft_ms_p50=ttft.measured("median"),
        ttft_ms_p99=ttft.inside("percentiles").measured("p99"),
        tpot_ms_mean=_successful(row, "inter_token_latency_ms").measured("mean"),
        e2e_ms_mean=1e3 * mean_s if mean_s else None,
        e2e_ms_p99=1e3 * p99_s if p99_s else None,
        success_rate=ratio(succeeded, succeeded + failed),
        notes=f"{succeeded:g} requests",
    )


def _first(row: Row, places: tuple[tuple[str, ...], ...]) -> Row:
    """What stands in the first of several places that versions have used; the first where it stands in none."""
    found = [row.inside(*place) for place in places]
    return next((one for one in found if one.values), found[0])


def _model(row: Row) -> str:
    names = (row.inside(*place).text(key) for place in BACKEND_AT for key in ("model", "backend_model"))
    return next(filter(None, names), "")


def _successful(row: Row, metric: str) -> Row:
    return row.inside("metrics", metric, "successful")


def _tokens(row: Row, metric: str, requests: float) -> float | None:
    """Tokens a request; the count of the distribution is its number of requests."""
    return _successful(row, metric).amount("mean") if requests else None


def _load(row: Row, sent: float) -> tuple[str, float]:
    """The points table's load for a strategy."""
    strategy = _first(row, STRATEGY_AT)
    strategy = strategy if strategy.values else _planned(row.inside("config"))
    kind = strategy.text("type_")
    cap = strategy.whole("streams") or strategy.whole("max_concurrency")
    if kind == "synchronous":
        return "single", 1.0
    if kind in ("poisson", "constant", "async"):
        return ("poisson" if kind == "poisson" else "constant"), strategy.needed("rate")
    if kind == "throughput":
        return ("closed", float(cap)) if cap and cap < sent else ("burst", sent)
    if kind == "concurrent" and cap:
        return ("single", 1.0) if cap == 1 else ("closed", float(cap))
    raise strategy.refuse("type_", f"'{kind}' is none of the points table's loads")


def _planned(config: Row) -> Row:
    """The strategy that the plan of all benchmarks has for this one, where the benchmark does not hold its own."""
    plan, index = config.inside("profile"), config.whole("run_index") or 0
    chosen: dict[str, object] = {"type_": plan.text("kind")}
    for name in ("streams", "rate"):
        listed = plan.values.get(name)
        if isinstance(listed, list) and index < len(listed):
            chosen[name] = listed[index]
    return Row(chosen, config.line, plan.within)
