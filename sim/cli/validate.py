"""`simctl validate`: what the simulator predicts for servers that somebody has measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

HOLD_OUT = ("none", "row", "source", "laboratory", "gpu", "model")
POINTS_HELP = "Measurements: a points table, or any format that is read; the committed ones if left out."


@click.command("validate")
@click.option("--points", type=click.Path(path_type=Path), metavar="FILE", help=POINTS_HELP)
@click.option("--given", multiple=True, metavar="COLUMN=VALUE", help="For blanks, as gpu=rtx-4090; repeatable.")
@click.option("--engine", multiple=True, metavar="NAME", help="Only measurements of this engine; repeatable.")
@click.option("--gpu", multiple=True, metavar="NAME", help="Only measurements on this card; repeatable.")
@click.option("--profile", metavar="NAME", help="The profile to validate: built in, or a JSON file.")
@click.option("--hold-out", type=click.Choice(HOLD_OUT), default="none", help="Predict each part by a fit without it.")
@click.option("--claims", is_flag=True, help="Judge the figures that articles quote instead.")
@click.option("--jobs", type=click.IntRange(1, 4096), help="Processes; as many as cores if left out.")
@click.option("-o", "--output", multiple=True, metavar="FORMAT[=PATH]", help="table, json, csv, md, html=PATH.")
@click.option("--quiet", is_flag=True, help="No progress and no warnings on stderr.")
def command(**flags: Any) -> None:
    """Predictions beside measurements: errors by engine, GPU, load and trust, and whether the bands hold."""
    _refuse_contradictions(flags)
    if flags["claims"]:
        _judge(flags)
    else:
        _compare(flags)


def _refuse_contradictions(flags: dict[str, Any]) -> None:
    from sim.errors import UsageError

    held_out = flags["hold_out"] != "none"
    for text in flags["given"]:
        if "=" not in text or not flags["points"]:
            raise UsageError(f"--given {text}: fills blanks of a file, as --points FILE --given gpu=rtx-4090")
    if flags["claims"] and (flags["points"] or held_out):
        raise UsageError("--claims judges a table of its own: leave --points and --hold-out out")
    if held_out and (flags["points"] or flags["profile"]):
        raise UsageError("--hold-out fits its own profiles to the committed measurements: leave --points and --profile")


def _compare(flags: dict[str, Any]) -> None:
    from calibration.validate import document
    from reports.validation import FORMATS
    from sim.cli.measured.validation import Question, validation
    from sim.cli.renderings import parse_outputs
    from sim.cli.terminal import warn
    from sim.cli.writing import write
    from sim.runner import cores

    places = parse_outputs(flags["output"], FORMATS)
    given = dict(text.split("=", 1) for text in flags["given"])
    asked = (flags["engine"], flags["gpu"], flags["profile"], flags["hold_out"])
    wanted = Question(flags["points"], given, *asked, flags["jobs"] or cores())
    quiet = flags["quiet"]
    found = validation(wanted, lambda message: warn([message], quiet=quiet), _reporter(quiet=quiet))
    write(document(found), places, FORMATS)


def _judge(flags: dict[str, Any]) -> None:
    from reports.claims import FORMATS
    from sim.cli.measured.claims import judged
    from sim.cli.renderings import parse_outputs
    from sim.cli.writing import write

    places = parse_outputs(flags["output"], FORMATS)
    write(judged(flags["engine"], flags["gpu"], flags["profile"]), places, FORMATS)


def _reporter(*, quiet: bool) -> Callable[[str, int, int], None]:
    """What says on stderr, now and then, how far the work is."""
    from sim.cli.terminal import now_and_then

    say = now_and_then()
    return (lambda *_: None) if quiet else lambda what, done, of: say(f"{what}: {done} of {of} done")
