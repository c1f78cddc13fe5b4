"""What a person at a terminal sees besides plain text: colour and progress."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from reports import sensitivity_table, tables, wording
from reports.document import Document
from sim.runner import Progress as Step

SECONDS_BETWEEN_LINES = 5.0


def show(document: Document) -> None:
    """The results with verdicts in colour; rich leaves colour out where NO_COLOR asks for that."""
    console = Console(width=wording.WIDTH, highlight=False)
    console.print(Text(wording.heading(document)))
    statuses = {cliff.variant: cliff.status for cliff in document.cliffs}
    for row in document.variants:
        style = {"found": "green", "not_reached": "green", "none": "red"}.get(statuses.get(row.id, ""), "")
        console.print(Text(wording.verdict(document, row), style="yellow" if row.status != "ok" else style))
    for table in tables.tables(document):
        title, header, *rows = tables.aligned(table).splitlines()
        console.print()
        console.print(Text(title, style="bold"))
        console.print(Text(header, style="bold cyan"))
        console.print(Text("\n".join(rows)))
    for note in tables.notes(document):
        console.print(Text(f"\n{note}", style="dim"))
    for moved in sensitivity_table.told(document) or ():
        console.print(Text(f"\n{moved}"))
    for note in tables.counsel(document):
        console.print(Text(f"\n{note}", style="dim"))


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a search says how far it is: `report` after every run, `say` for what should stay."""

    report: Callable[[Step], None]
    say: Callable[[str], None]


@contextmanager
def progress_bar() -> Iterator[Screen]:
    """A bar on stderr that says what has just been run."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def report(step: Step) -> None:
            at = "" if step.doing.users is None else f" at {step.doing.users} users"
            bar.update(task, completed=step.done, total=step.planned, description=f"{step.doing.variant}{at}")

        yield Screen(report, lambda text: console.print(Text(text)))


def now_and_then() -> Callable[[str], None]:
    """What says a line on stderr unless it has just said one."""
    spoke = time.monotonic()

    def say(text: str) -> None:
        nonlocal spoke
        if time.monotonic() - spoke >= SECONDS_BETWEEN_LINES:
            spoke = time.monotonic()
            click.echo(f"simctl: {text}", err=True)

    return say


def progress_lines() -> Screen:
    """How far a search is, for a log."""
    say = now_and_then()
    return Screen(
        lambda step: say(f"{step.done} of {step.planned} runs done, now {step.doing.variant}"),
        lambda text: click.echo(text, err=True),
    )


@contextmanager
def progress(*, quiet: bool) -> Iterator[Screen]:
    """A bar on a terminal, lines in a log, or nothing."""
    if quiet:
        yield Screen(lambda _: None, lambda _: None)
    elif sys.stderr.isatty():
        with progress_bar() as screen:
            yield screen
    else:
        yield progress_lines()


def warn(messages: Iterable[str], *, quiet: bool) -> None:
    """Warnings on stderr."""
    if not quiet:
        for message in messages:
            click.echo(f"simctl: warning: {message}", err=True)
