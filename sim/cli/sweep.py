"""`simctl sweep`: how many users each variant carries."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sim.cli.flags import read, shared
from sim.cli.scenario_command import ScenarioCommand, scenario_argument
from sim.errors import INTERRUPTED

if TYPE_CHECKING:
    from reports.document import Document
    from sim.cli.study import Study

    Details = Callable[[Study, Document], str]


@click.command("sweep", cls=ScenarioCommand, epilog="Engines' own options are flags too: see `simctl list engines`.")
@scenario_argument
@shared(users="1..128", seeds=3)
def command(**flags: Any) -> int:
    """How many users each engine carries: verdict, table, results."""
    return conduct(flags)


def conduct(flags: dict[str, Any], details: "Details | None" = None) -> int:
    """Resolve, run, report; the exit code. `details` follow the table where it is on stdout."""
    from sim.cli import dry_run, failing, keeping, outputs, searching, sensitivity, terminal, writing
    from sim.cli.conditions import parse_conditions
    from sim.cli.study import study

    asked = read(flags)
    places = outputs.parse_outputs(asked.output)
    resolved = study(asked)
    conditions = parse_conditions(asked.fail_if, refines=resolved.plan.refine)
    if asked.sensitivity:
        sensitivity.require_searchable(resolved)
    if asked.dry_run:
        click.echo(dry_run.describe(resolved), nl=False)
        resolved.require_one()
        return 0
    with (
        terminal.progress(quiet=asked.quiet) as screen,
        keeping.kept(places, keeping.of_study(resolved), screen.say, resume=asked.resume) as memory,
    ):
        found, interrupted = searching.search(resolved, screen, memory)
    terminal.warn(found.warnings, quiet=asked.quiet)
    outputs.write(found, places)
    if details is not None and writing.Output("table", None) in places:
        click.echo(details(resolved, found), nl=False)
    resolved.require_one()
    if interrupted:
        return INTERRUPTED
    return failing.exit_code(found, conditions)
