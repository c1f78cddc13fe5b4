"""`simctl plan`: which hardware carries the users, cheapest first."""

from typing import Any

import click

from sim.cli.flags import options
from sim.cli.scenario_command import ScenarioCommand, scenario_argument

SHARED = (
    "gpu",
    "gpus",
    "engine",
    "weights",
    "model",
    "kv_type",
    "host",
    "router",
    "users",
    "think",
    "workload",
    "prompt_tokens",
    "output_tokens",
    "slo",
    "profile",
    "requests",
    "seeds",
    "seed",
    "jobs",
    "output",
    "resume",
    "quiet",
    "dry_run",
)
CARDS = {
    "required": False,
    "multiple": True,
    "help": "A card to consider; repeatable. Common ones if left out: --dry-run lists them.",
}
TOGETHER = {"default": None, "help": "Cards that share one copy; as few as hold the model if left out."}
FORMATS = {"multiple": True, "help": "A weight format to consider; repeatable. Each engine's usual one if left out."}
KINDS = {"help": "table, json, jsonl, csv, md, html."}
MANY = {"default": None, "help": "How many are to be carried at once."}
PAUSE = {"default": None, "help": "Pause between messages: 10s, exp:10s; with --people 20s if left out."}


@click.command("plan", cls=ScenarioCommand, epilog="Engines' own options are flags too: see `simctl list engines`.")
@scenario_argument
@click.option("--people", type=click.IntRange(1, 1_000_000), help="The other way to say --users: people who pause.")
@click.option("--max-replicas", type=click.IntRange(1, 1024), default=8, help="Copies at most; 8 if left out.")
@click.option("--price", multiple=True, metavar="GPU=USD", help="Dollars an hour of one card, as l4=0.70; repeatable.")
@click.option("--api-price", metavar="USD", help="Dollars a million output tokens elsewhere, to compare with.")
@options(SHARED, gpu=CARDS, gpus=TOGETHER, weights=FORMATS, users=MANY, think=PAUSE, output=KINDS)
def command(**given: Any) -> int:
    """Which hardware carries the users, cheapest first, with what a million tokens cost."""
    from reports import plan_document, plan_page, plan_tables
    from sim.cli import keeping, renderings, terminal, writing
    from sim.cli.planning import plan, read

    formats = {
        "table": plan_tables.plain,
        "json": plan_document.to_text,
        "jsonl": plan_tables.json_lines,
        "csv": plan_tables.comma_separated,
        "md": plan_tables.markdown,
        "html": plan_page.page,
    }
    places = renderings.parse_outputs(given["output"], formats)
    asked = read(given)
    if given["dry_run"]:
        click.echo(asked.describe(), nl=False)
        return 0
    with (
        terminal.progress(quiet=given["quiet"]) as screen,
        keeping.kept(places, asked.decides, screen.say, resume=given["resume"]) as memory,
    ):
        found = plan(asked, screen, memory)
    terminal.warn(found.warnings, quiet=given["quiet"])
    writing.write(found, places, formats)
    if not found.offers:
        click.echo("simctl: nothing carries it: --max-replicas, --slo or other cards (--gpu) may change that", err=True)
    return 0 if found.offers else 1
