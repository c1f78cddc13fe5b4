"""A comparison carried out: every case run with the same seeds, and all of them put into one document."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from reports.comparison import Comparison, Difference
from reports.document import Document
from sim import compose
from sim.cli.cases import Case
from sim.cli.differing import differences, winners
from sim.cli.explained import Explainer
from sim.cli.flags import Flags
from sim.cli.keeping import Kept
from sim.cli.results import document
from sim.cli.terminal import Screen
from sim.cli.varying import parse_axes
from sim.merging import judge
from sim.metrics import PointMetrics
from sim.sweep import Findings, sweep


def compared(chosen: Sequence[Case], vary: Sequence[str], screen: Screen, memory: Kept | None) -> tuple[Document, bool]:
    """Everything that was found, and whether somebody interrupted it."""
    runner = chosen[0].study.runner(screen.report, memory)
    documents, found = [], dict[str, Findings[PointMetrics]]()
    for case in chosen:
        explainer = Explainer(case.study, runner)
        findings = sweep(case.study.plan, runner, judge, _explained(explainer))
        found |= {row.variant.id: findings for row in case.study.rows if row.deployment is not None}
        documents.append(document(case.study, findings, explainer.found))
        if findings.interrupted:
            break
    interrupted = any(findings.interrupted for findings in found.values())
    if memory is not None:
        memory.interrupted = interrupted
    return _together(documents, _comparison(chosen, found), chosen, vary), interrupted


def _explained(explainer: Explainer) -> Any:
    """What is done with a variant that is run."""

    def explain(variant: str, findings: Findings[PointMetrics]) -> None:
        if explainer.study.by_users:
            explainer.explain(explainer.study.row(variant), findings.of(variant))

    return explain


def _comparison(chosen: Sequence[Case], found: dict[str, Findings[PointMetrics]]) -> Comparison:
    points = {
        name: {key.users: seeds for key, seeds in findings.points.items() if key.variant == name}
        for name, findings in found.items()
    }
    told: list[Difference] = []
    for name, baseline in _pairs(chosen):
        if name in points and baseline in points:
            told += differences(name, points[name], baseline, points[baseline], chosen[0].study.flags.seeds)
    return Comparison(_varied(chosen), tuple(told), tuple(winners(points)))


def _varied(chosen: Sequence[Case]) -> dict[str, tuple[str, ...]]:
    """The values of every key, in the order in which they were given."""
    return {key: tuple(dict.fromkeys(case.setting[key] for case in chosen)) for key in chosen[0].setting}


def _pairs(chosen: Sequence[Case]) -> Iterator[tuple[str, str]]:
    """Every variant with those that differ from it in one key only, and have the first value there."""
    varied = _varied(chosen)
    names = {
        (kind, *case.setting.values()): row.variant.id
        for case in chosen
        for kind, row in zip(case.kinds, case.study.rows, strict=True)
    }
    for (kind, *values), name in names.items():
        for place, (first, *_) in enumerate(varied.values()):
            baseline = names.get((kind, *values[:place], first, *values[place + 1 :]))
            if baseline is not None and baseline != name:
                yield name, baseline


def _together(documents: Sequence[Document], comparison: Comparison, chosen: Sequence[Case], vary: Any) -> Document:
    """One document of all variants; its scenario is the one that was asked, and what was varied."""
    first = documents[0]
    catalogue = {key: entry for each in documents for key, entry in each.provenance["catalogue"].items()}
    return replace(
        first,
        scenario=_scenario(first.scenario, chosen[0].study.flags, vary),
        variants=tuple(row for each in documents for row in each.variants),
        points=tuple(point for each in documents for point in each.points),
        cliffs=tuple(cliff for each in documents for cliff in each.cliffs),
        warnings=tuple(dict.fromkeys(text for each in documents for text in each.warnings)),
        provenance={**first.provenance, "catalogue": dict(sorted(catalogue.items()))},
        advice=tuple(text for each in documents for text in each.advice),
        details=tuple(view for each in documents for view in each.details),
        comparison=comparison,
    )


def _scenario(first: dict[str, Any], flags: Flags, vary: Sequence[str]) -> dict[str, Any]:
    """What was asked: without what is varied, and without what follows from that."""
    varied = {compose.fold(axis.flag or axis.key) for axis in parse_axes(vary)}
    table = {key: value for key, value in first.items() if compose.fold(key) not in varied}
    if "gpu" in varied:
        table["host"] = flags.host
    if "workload" in varied:
        table |= {"prompt-tokens": flags.prompt_tokens, "output-tokens": flags.output_tokens}
    return {key: value for key, value in table.items() if compose.fold(key) not in varied} | {"vary": list(vary)}
