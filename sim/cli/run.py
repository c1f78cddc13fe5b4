"""`simctl run`: one load in detail."""

from typing import TYPE_CHECKING, Any

import click

from sim.cli.flags import shared
from sim.cli.scenario_command import ScenarioCommand, scenario_argument

if TYPE_CHECKING:
    from reports.document import Document
    from sim.cli.study import Study


@click.command("run", cls=ScenarioCommand, epilog="Engines' own options are flags too: see `simctl list engines`.")
@scenario_argument
@shared(users="8", seeds=1, sensitivity={"hidden": True})
def command(**flags: Any) -> int:
    """One load in detail: every latency, what the time to the first token went to, and how the run went on."""
    from sim.cli.sweep import conduct

    return conduct(flags, _details)


def _details(study: "Study", document: "Document") -> str:
    """What the table of a sweep has no room for; the timelines play the first seed once more."""
    from reports.tables import aligned, details
    from sim.cli.timeline import timeline
    from sim.simulate import simulate

    blocks = [aligned(table) for table in details(document)]
    for point in document.points:
        users = point.users if study.by_users else None
        result = simulate(study.scenario(point.variant, users, study.flags.seed))
        title = f"{point.variant}, {study.traffic.load(users).text}, seed {study.flags.seed}, from start to end"
        blocks.append(aligned(timeline(result, title)))
    return "".join(f"\n{block}\n" for block in blocks)
