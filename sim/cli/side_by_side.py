"""The studies of a comparison: one for every combination, run with the same seeds, and put into one document."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.comparison import Comparison, Difference
from reports.document import Document
from sim import compose
from sim.cli import dry_run
from sim.cli.differing import differences, winners
from sim.cli.explained import Explainer
from sim.cli.flags import Flags
from sim.cli.results import document
from sim.cli.study import Study, judge, study
from sim.cli.terminal import Screen
from sim.cli.variants import Prepared, asked_variants
from sim.cli.varying import Axis, Setting, applied, parse_axes, settings, words
from sim.errors import NotSupported, UsageError
from sim.metrics import PointMetrics
from sim.sweep import Findings, sweep


@dataclass(frozen=True)
class Case:
    """One combination: its settings, and its study, whose variants are named after them."""

    setting: Setting
    study: Study
    kinds: tuple[str, ...]  # what each variant is called without the settings


def cases(flags: Flags, vary: Sequence[str]) -> list[Case]:
    """Every combination, resolved; combinations that an engine does not support are kept with the reason."""
    axes = parse_axes(vary)
    if flags.gpu is None and not any(axis.flag == "gpu" for axis in axes):
        raise UsageError("no card is named: write --gpu NAME, or --vary gpu=a100-40g,h100")
    resolved = [(setting, applied(flags, axes, setting)) for setting in settings(axes)]
    studies = [(setting, _study(asked)) for setting, asked in resolved]
    if all(isinstance(found, NotSupported) for _, found in studies):
        raise next(found for _, found in studies if isinstance(found, NotSupported))
    whole = next(found for _, found in studies if isinstance(found, Study))
    chosen = []
    for (setting, found), (_, asked) in zip(studies, resolved, strict=True):
        made = found if isinstance(found, Study) else _unsupported(whole, asked, found)
        chosen.append(_named(made, setting, axes))
    _require_one(chosen)
    return chosen


def _study(flags: Flags) -> Study | NotSupported:
    try:
        return study(flags)
    except NotSupported as error:
        return error


def _unsupported(like: Study, flags: Flags, error: NotSupported) -> Study:
    """A study of variants none of which can be deployed."""
    rows = tuple(Prepared(variant, None, error) for variant in asked_variants(flags))
    return replace(like, flags=flags, rows=rows)


def _named(found: Study, setting: Setting, axes: Sequence[Axis]) -> Case:
    """Variants under names that tell them apart: the settings, and the engine where they do not name it."""
    told = " ".join(words(setting))
    by_engine = any(axis.flag == "engine" for axis in axes) or len(found.rows) == 1
    kinds = tuple("" if by_engine else row.variant.id for row in found.rows)
    names = [" ".join(filter(None, (kind, told))) for kind in kinds]
    rows = tuple(
        replace(row, variant=replace(row.variant, id=name)) for row, name in zip(found.rows, names, strict=True)
    )
    return Case(setting, replace(found, rows=rows), kinds)


def _require_one(chosen: Sequence[Case]) -> None:
    """Raise when nothing can be run at all."""
    replace(chosen[0].study, rows=_all_rows(chosen)).require_one()


def describe(chosen: Sequence[Case]) -> str:
    """What would be run: the memory of every variant; loads and lengths as the first combination has them."""
    return dry_run.describe(replace(chosen[0].study, rows=_all_rows(chosen)))


def _all_rows(chosen: Sequence[Case]) -> tuple[Prepared, ...]:
    return tuple(row for case in chosen for row in case.study.rows)


def compared(chosen: Sequence[Case], vary: Sequence[str], screen: Screen) -> tuple[Document, bool]:
    """Everything that was found, and whether somebody interrupted it."""
    runner = chosen[0].study.runner(screen.report)
    documents, found = [], dict[str, Findings[PointMetrics]]()
    for case in chosen:
        explainer = Explainer(case.study, runner)
        findings = sweep(case.study.plan, runner, judge, _explained(explainer))
        found |= {row.variant.id: findings for row in case.study.rows if row.deployment is not None}
        documents.append(document(case.study, findings, explainer.found))
        if findings.interrupted:
            break
    interrupted = any(findings.interrupted for findings in found.values())
    return _together(documents, _comparison(chosen, found), chosen, vary), interrupted


def _explained(explainer: Explainer) -> Any:
    """What is done with a variant that is run."""

    def explain(variant: str, findings: Findings[PointMetrics]) -> None:
        if explainer.study.by_users:
            explainer.explain(explainer.study.row(variant), findings.of(variant))

    return explain


def _comparison(chosen: Sequence[Case], found: dict[str, Findings[PointMetrics]]) -> Comparison:
    points = {name: findings.of(name) for name, findings in found.items()}
    first = {kind: row.variant.id for case in reversed(chosen) for kind, row in _rows(case) if row.variant.id in found}
    told: list[Difference] = []
    for case in chosen:
        for kind, row in _rows(case):
            name, baseline = row.variant.id, first.get(kind)
            if name in points and baseline is not None and baseline != name:
                told += differences(name, points[name], baseline, points[baseline], case.study.flags.seeds)
    varied: dict[str, tuple[str, ...]] = {}
    for case in chosen:
        for key, value in case.setting.items():
            varied[key] = tuple(dict.fromkeys((*varied.get(key, ()), value)))
    return Comparison(varied, tuple(told), tuple(winners(points)))


def _rows(case: Case) -> list[tuple[str, Prepared]]:
    return list(zip(case.kinds, case.study.rows, strict=True))


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
