"""What was found, as the published document."""

from collections.abc import Mapping, Sequence

from reports.closeup import CloseUp
from reports.document import SCHEMA_VERSION, Document, Memory, MetricDefinition, Trust, VariantRow, VariantStatus
from sim import compose
from sim.cli.cliff_rows import cliff_row
from sim.cli.closeups import close_up
from sim.cli.explained import Explanation
from sim.cli.notices import advice, warnings
from sim.cli.point_rows import point_row
from sim.cli.provenance import provenance, simctl_version
from sim.cli.study import Study, scenario_table
from sim.cli.trust import trust
from sim.cli.variants import Prepared
from sim.definitions import METRIC_DEFINITIONS
from sim.engine import MemoryPlan
from sim.errors import DoesNotFit
from sim.hardware import GIB
from sim.metrics import PointMetrics
from sim.sweep import Findings, Key


def document(
    study: Study,
    findings: Findings[PointMetrics],
    told: Mapping[str, Explanation] | None = None,
    stable: Mapping[str, float | None] | None = None,
    *,
    closely: bool = True,
) -> Document:
    """Everything that the study found; `stable` holds the rates that open loops are kept up with."""
    told, stable = told or {}, stable or {}
    points = sorted(findings.points.items(), key=lambda item: _place(study, item[0]))
    sure = {row.variant.id: trust(row, _runs(findings, row)) for row in study.rows}
    return Document(
        schema_version=SCHEMA_VERSION,
        simctl=simctl_version(),
        scenario=scenario_table(study),
        metric_definitions={name: MetricDefinition(*parts) for name, parts in METRIC_DEFINITIONS.items()},
        variants=tuple(_variant_row(row, sure[row.variant.id]) for row in study.rows),
        points=tuple(point_row(study, key, seeds) for key, seeds in points),
        cliffs=tuple(
            cliff_row(study, row, findings.of(name), told.get(name), stable.get(name), sure[name])
            for row in study.rows
            for name in (row.variant.id,)
        )
        if study.by_users or stable
        else (),
        warnings=tuple(warnings(study, findings, told)),
        provenance=provenance([compose.machine(row.variant) for row in study.rows]),
        advice=tuple(advice(study, told, sure)),
        details=tuple(_close_ups(study, findings, told)) if closely else (),
    )


def _runs(findings: Findings[PointMetrics], row: Prepared) -> list[PointMetrics]:
    return [run for key, runs in findings.points.items() if key.variant == row.variant.id for run in runs]


def _place(study: Study, key: Key) -> tuple[int, int]:
    return [row.variant.id for row in study.rows].index(key.variant), key.users or 0


def _close_ups(study: Study, findings: Findings[PointMetrics], told: Mapping[str, Explanation]) -> Sequence[CloseUp]:
    """Of every variant at its first failing load, or at the largest that was run."""
    chosen = {}
    for row in study.rows:
        users = list(findings.of(row.variant.id))
        found = told.get(row.variant.id)
        if users:
            chosen[row.variant.id] = (found.bracket.failing if found else None) or users[-1]
    return [close_up(study, variant, users) for variant, users in chosen.items()]


# -- variants


def _variant_row(row: Prepared, trust: Trust | None) -> VariantRow:
    variant, deployment = row.variant, row.deployment
    status: VariantStatus = "ok"
    if row.error is not None:
        status = "does_not_fit" if isinstance(row.error, DoesNotFit) else "not_supported"
    weights = variant.weights or compose.default_weights(variant.engine, compose.machine(variant)[2])
    return VariantRow(
        id=variant.id,
        engine=variant.engine,
        version=deployment.version if deployment else variant.version or compose.engine(variant.engine).VERSIONS[-1],
        weights=deployment.traits.weights if deployment else weights,
        options=dict(deployment.options if deployment else variant.options),
        gpu=compose.machine(variant)[0].id,
        gpus=variant.gpus,
        replicas=variant.replicas,
        status=status,
        reason=str(row.error) if row.error else None,
        missing_gib=row.error.missing_bytes / GIB if isinstance(row.error, DoesNotFit) else None,
        memory=memory(deployment.memory) if deployment else None,
        trust=trust,
        profile=variant.step_table or variant.profile or compose.PROFILE,
    )


def memory(plan: MemoryPlan) -> Memory:
    """Where the bytes go."""
    return Memory(
        weights_gib=plan.weight_bytes / GIB,
        kv_gib=plan.kv_bytes / GIB,
        scratch_gib=plan.scratch_bytes / GIB,
        kv_tokens=plan.kv_tokens,
        blocks=plan.blocks,
        slots=plan.slots,
        context=plan.context,
        layers_on_host=plan.layers_on_host,
    )
