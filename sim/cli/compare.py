"""`simctl compare`: variants side by side, with the differences that are not chance."""

from typing import Any

import click

from sim.cli.flags import read, shared
from sim.cli.scenario_command import ScenarioCommand, scenario_argument
from sim.errors import INTERRUPTED

NOT_HERE = {"hidden": True, "default": False}  # a comparison moves knobs itself


@click.command("compare", cls=ScenarioCommand, epilog="Engines' own options are flags too, and can be varied.")
@scenario_argument
@click.option("--vary", multiple=True, metavar="KEY=A,B,C", help="A flag or an engine's option, and its values.")
@shared(
    users="1..128",
    seeds=3,
    gpu={"required": False},
    explain=NOT_HERE,
    sensitivity=NOT_HERE,
)
def command(vary: tuple[str, ...], **flags: Any) -> int:
    """What a change would bring: every combination of what is varied, under the same requests."""
    from sim.cli import failing, keeping, outputs, terminal
    from sim.cli.cases import cases, describe
    from sim.cli.conditions import parse_conditions
    from sim.cli.side_by_side import compared

    asked = read(flags)
    places = outputs.parse_outputs(asked.output)
    chosen = cases(asked, vary)
    conditions = parse_conditions(asked.fail_if, refines=chosen[0].study.plan.refine)
    if asked.dry_run:
        click.echo(describe(chosen), nl=False)
        return 0
    scenario = [keeping.of_study(case.study) for case in chosen]
    with (
        terminal.progress(quiet=asked.quiet) as screen,
        keeping.kept(places, scenario, screen.say, resume=asked.resume) as memory,
    ):
        found, interrupted = compared(chosen, vary, screen, memory)
    terminal.warn(found.warnings, quiet=asked.quiet)
    outputs.write(found, places)
    return INTERRUPTED if interrupted else failing.exit_code(found, conditions)
