"""`simctl sweep`: how many users each variant carries."""

from typing import Any

import click

from sim.cli.engine_options import EngineCommand
from sim.cli.flags import read, shared

INTERRUPTED = 130


@click.command("sweep", cls=EngineCommand, epilog="Engines' own options are flags too: see `simctl list engines`.")
@shared(users="1..128", seeds=3)
def command(**flags: Any) -> int:
    """How many users each engine carries: verdict, table, results."""
    return conduct(**flags)


def conduct(**flags: Any) -> int:
    """Resolve, run, report; the exit code."""
    from sim.cli import outputs, plan, results, terminal
    from sim.cli.study import mean_passes, study
    from sim.sweep import Findings, sweep

    asked = read(flags)
    places = outputs.parse_outputs(asked.output)
    resolved = study(asked)
    if asked.dry_run:
        click.echo(plan.describe(resolved), nl=False)
        resolved.require_one()
        return 0
    findings: Findings[Any] = Findings()
    if resolved.plan.variants:
        with terminal.progress(quiet=asked.quiet) as report:
            findings = sweep(resolved.plan, resolved.runner(report), mean_passes)
    found = results.document(resolved, findings)
    terminal.warn(found.warnings, quiet=asked.quiet)
    outputs.write(found, places)
    resolved.require_one()
    return INTERRUPTED if findings.interrupted else 0
