"""A comparison in words and tables: who carries what, who wins where, and by how much."""

from reports.comparison import Compared, Comparison, Difference, Stretch
from reports.document import Document
from reports.markdown import table as table_lines
from reports.tables import Table, aligned
from reports.traffic import traffic
from reports.wording import verdict, wrapped

METRICS: dict[Compared, str] = {
    "output_tps": "tok/s",
    "ttft_ms": "TTFT p99",
    "tpot_ms": "TPOT p50",
    "itl_ms": "ITL p99",
}
WINS = "Most tokens a second within the SLO"
MANY = 4  # times as much are told as such, and not in percent


def heading(document: Document) -> str:
    """What was varied, and what stayed the same."""
    assert document.comparison is not None
    catalogue, scenario = document.provenance.get("catalogue", {}), document.scenario
    varied = ", ".join(f"{key} ({', '.join(values)})" for key, values in document.comparison.varied.items())
    same = [catalogue.get(name, {}).get("name", name) for key in ("gpu", "model") if (name := scenario.get(key))]
    same += list(scenario.get("engine") or [])
    same += [traffic(scenario)] if scenario.get("workload") else []
    return wrapped(f"What changes with {varied}: {', '.join(same)}, SLO {scenario.get('slo')}", "")


def wins(comparison: Comparison) -> list[str]:
    """Who is best at which loads, a line for each stretch."""
    return [wrapped(f"{_loads(stretch)}: {_best(stretch)}") for stretch in comparison.winners]


def _loads(stretch: Stretch) -> str:
    if stretch.to is None:
        return f"from {stretch.from_} users on"
    return (
        f"{stretch.from_} user{'s' * (stretch.from_ != 1)}"
        if stretch.from_ == stretch.to
        else f"{stretch.from_} to {stretch.to} users"
    )


def _best(stretch: Stretch) -> str:
    if not stretch.best:
        return "nobody keeps the SLO"
    alike = " (their difference may be chance)" if len(stretch.best) > 1 else ""
    return " and ".join(stretch.best) + alike


def tables(document: Document) -> list[Table]:
    """One table for every variant that is measured against another."""
    assert document.comparison is not None
    names = dict.fromkeys((told.variant, told.baseline) for told in document.comparison.differences)
    return [_table(document, *pair) for pair in names]


def _table(document: Document, variant: str, baseline: str) -> Table:
    assert document.comparison is not None
    told = [each for each in document.comparison.differences if (each.variant, each.baseline) == (variant, baseline)]
    by_load = {(each.users, each.metric): each for each in told}
    loads = list(dict.fromkeys(each.users for each in told if each.metric != "capacity_users"))
    rows = tuple(
        ("all" if users is None else str(users), *(_relative(by_load.get((users, metric))) for metric in METRICS))
        for users in loads
    )
    capacity = next((each for each in told if each.metric == "capacity_users"), None)
    title = wrapped(f"{variant} against {baseline}{_capacities(document, variant, baseline, capacity)}")
    return Table(title, ("users", *METRICS.values()), rows)


def _capacities(document: Document, variant: str, baseline: str, told: Difference | None) -> str:
    """Both capacities with their difference, or as far as they are known; nothing where nobody looked for them."""
    if told is not None:
        return f": capacity {_capacity(told)}"
    if not any(cliff.variant == variant for cliff in document.cliffs):
        return ""
    return f": capacity {_carried(document, variant)} against {_carried(document, baseline)}"


def _carried(document: Document, variant: str) -> str:
    """A capacity in words, where there is no number for each seed."""
    cliff = next((found for found in document.cliffs if found.variant == variant), None)
    if cliff is None or cliff.capacity_users is None:
        return f"fewer than {cliff.first_failing_users}" if cliff and cliff.first_failing_users else "unknown"
    return f"{cliff.capacity_users} and more" if cliff.status == "not_reached" else f"{cliff.capacity_users}"


def _capacity(told: Difference) -> str:
    between = "" if told.low is None or told.high is None else f" ({told.low:+.1f} to {told.high:+.1f})"
    mark = "" if told.certain else "~"
    return f"{told.value:.1f} against {told.baseline_value:.1f} users, {mark}{told.difference:+.1f}{between}"


def _relative(told: Difference | None) -> str:
    """A difference in percent of the baseline, or how many times as much; a tilde where it may be chance."""
    if told is None or not told.baseline_value:
        return "-"
    if told.difference == 0 and told.low == told.high:
        return "the same"
    many = told.value >= MANY * told.baseline_value
    ends = [None if end is None else _part(end, told.baseline_value, many=many) for end in (told.low, told.high)]
    between = "" if None in ends else f" ({ends[0]} to {ends[1]})"
    start = "" if told.certain else "~"
    value = _part(told.difference, told.baseline_value, many=many)
    return f"{start}×{value}{between}" if many else f"{start}{value}%{between}"


def _part(difference: float, whole: float, *, many: bool) -> str:
    if many:
        return f"{1 + difference / whole:.3g}"
    percent = 100 * difference / whole
    return f"{percent:+.0f}" if abs(percent) >= 1 else f"{percent:+.1f}"


def note(document: Document) -> str:
    """How the differences are to be read."""
    seeds = document.scenario.get("seeds")
    if seeds == 1:
        return "With one seed nothing tells a difference from chance: --seeds 3 does."
    text = (
        f"Differences are paired: the same requests with the same {seeds} seeds. In brackets where the true one lies "
        "nine times in ten; ~ it may be chance. Capacity: where a seed's share of requests within the SLO falls to 95%."
    )
    return wrapped(text, "")


def plain(document: Document) -> str:
    """Verdicts, who wins where, then the differences, within 100 columns."""
    assert document.comparison is not None
    blocks = [heading(document), "\n".join(verdict(document, row) for row in document.variants)]
    blocks += ["\n".join((WINS, *wins(document.comparison)))] if document.comparison.winners else []
    found = tables(document)
    blocks += [aligned(table) for table in found]
    blocks += [note(document)] if found else []
    return "\n\n".join(block for block in blocks if block) + "\n"


def markdown(document: Document) -> str:
    """The same as a Markdown page."""
    assert document.comparison is not None
    lines = [heading(document), "", *(f"* {verdict(document, row)}" for row in document.variants)]
    if document.comparison.winners:
        lines += ["", f"### {WINS}", "", *(f"* {line}" for line in wins(document.comparison))]
    for table in tables(document):
        lines += ["", f"### {table.title}", "", *table_lines(table.header, table.rows)]
    return "\n".join([*lines, "", note(document)]) + "\n"
