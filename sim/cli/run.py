"""`simctl run`: one load in detail."""

from typing import Any

import click

from sim.cli.engine_options import EngineCommand
from sim.cli.flags import shared


@click.command("run", cls=EngineCommand, epilog="Engines' own options are flags too: see `simctl list engines`.")
@shared(users="8", seeds=1)
def command(**flags: Any) -> int:
    """One load in detail."""
    from sim.cli.sweep import conduct

    return conduct(**flags)
