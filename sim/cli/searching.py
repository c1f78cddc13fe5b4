"""A study carried out: the sweep, each variant's verdict as soon as it is known, then the proofs of the causes."""

from dataclasses import replace

from reports.document import Document, SensitivityRow
from reports.wording import verdict
from sim.cli.explained import Explainer
from sim.cli.keeping import Kept
from sim.cli.open_loop import stability_rate
from sim.cli.results import document
from sim.cli.sensitivity import sensitivity
from sim.cli.shift_notices import outgrown
from sim.cli.study import Study, hopeless
from sim.cli.terminal import Screen
from sim.merging import judge
from sim.metrics import PointMetrics
from sim.runner import Runner
from sim.sweep import Findings, sweep


def search(study: Study, screen: Screen, memory: Kept | None) -> tuple[Document, bool]:
    """Everything that can be found, and whether somebody interrupted it."""
    runner = study.runner(screen.report, memory)
    explainer = Explainer(study, runner)
    stable: dict[str, float | None] = {}
    moved: list[SensitivityRow] = []
    findings = sweep(
        study.plan, runner, judge, lambda variant, so_far: _tell(explainer, screen, variant, so_far), hopeless
    )
    try:
        if not findings.interrupted and study.flags.explain:
            _prove(study, explainer, runner, stable)
        if not findings.interrupted and study.flags.sensitivity:
            points = {row.variant.id: findings.of(row.variant.id) for row in study.rows}
            for shifted in sensitivity(study, runner, explainer.found, points):
                moved.append(shifted)  # noqa: PERF402 (an interrupt keeps what came before it)
    except KeyboardInterrupt:
        findings.interrupted = True
    if memory is not None:
        memory.interrupted = findings.interrupted
    found = document(study, findings, explainer.found, stable)
    if moved:
        found = replace(found, sensitivity=tuple(moved), warnings=(*found.warnings, *outgrown(study)))
    return found, findings.interrupted


def _tell(explainer: Explainer, screen: Screen, variant: str, findings: Findings[PointMetrics]) -> None:
    """Work out what a variant's loads say, and say so at once where several variants are waited for."""
    study = explainer.study
    if not study.by_users:
        return
    row = study.row(variant)
    explainer.explain(row, findings.of(variant))
    if len(study.plan.variants) > 1:
        said = document(study, findings, explainer.found, closely=False)
        (shown,) = (each for each in said.variants if each.id == variant)
        screen.say(verdict(said, shown))


def _prove(study: Study, explainer: Explainer, runner: Runner[PointMetrics], stable: dict[str, float | None]) -> None:
    """The causes by moving their knobs; of an open loop the rate that it keeps up with."""
    for row in study.rows:
        if row.variant.id in explainer.found:
            explainer.prove(row)
        elif row.deployment is not None and not study.by_users and study.traffic.load(None).open_loop:
            stable[row.variant.id] = stability_rate(study, row, runner)
