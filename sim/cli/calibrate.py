"""`simctl calibrate`: measurements into a profile, with how far each figure may be off."""

from pathlib import Path
from typing import Any

import click

CHECKS = ("row", "source", "gpu", "model")


@click.command("calibrate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default="profile.json", help="The profile to write.")
@click.option("--name", default=None, help="Its name; the file's if left out.")
@click.option("--alone", is_flag=True, help="Only these files, without the committed measurements beside them.")
@click.option("--engine", metavar="NAME", help="For files that do not say: which engine was measured.")
@click.option("--gpu", metavar="NAME", help="For files that do not say: on which card.")
@click.option("--gpus", metavar="N", help="For files that do not say: on how many of them.")
@click.option("--model", metavar="NAME", help="For files that do not say: which model.")
@click.option("--weights", metavar="TYPE", help="For files that do not say: in which format.")
@click.option("--version", "engine_version", metavar="V", help="For files that do not say: which release.")
@click.option("--slots", metavar="N", help="For files that do not say: how many requests the server ran at once.")
@click.option("--context", metavar="N", help="For files that do not say: tokens of context of each slot.")
@click.option(
    "--check",
    multiple=True,
    type=click.Choice(CHECKS),
    help="Bands from fits without a part of the measurements, minutes each, in place of the shipped ones; repeatable.",
)
@click.option(
    "--bands-from",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Bands of whole servers, from `simctl validate --hold-out ... -o json=FILE`; repeatable.",
)
@click.option(
    "--resamples", type=click.IntRange(0, 1000), default=None, help="Draws of sources, for each figure's spread."
)
@click.option("--quiet", is_flag=True, help="No progress and no warnings on stderr.")
def command(**flags: Any) -> None:
    """Fit step times to measurements, the committed ones and FILES, and write a profile for --profile."""
    try:
        from sim.cli.calibrating import calibrate
    except ModuleNotFoundError as error:
        from sim.errors import UsageError

        raise UsageError(f"calibrate needs {error.name}: pip install 'simctl[calibrate]'") from None
    calibrate(flags)
