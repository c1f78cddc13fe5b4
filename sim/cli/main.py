"""The command `simctl`: its commands by name, and what becomes of an error."""

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from sim.errors import INTERRUPTED, SimctlError

# Name and one line each, so that `simctl --help` loads none of them; the file of a command has its name.
COMMANDS = {
    "sweep": "How many users each engine carries: verdict, table, results.",
    "run": "One load in detail.",
    "compare": "What a change would bring: variants side by side.",
    "plan": "Which hardware carries the users, cheapest first.",
    "report": "The page, or another rendering, from results.json.",
    "calibrate": "Measurements into a profile of step times.",
    "validate": "Predictions beside measurements, and claims judged.",
    "list": "What there is: gpus, hosts, models, engines, workloads, profiles, policies.",
}


class Simctl(click.Group):
    """Loads a command when it is named; no error ends in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"sim.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, say what went wrong if something did, and leave with the right code."""
        extra["standalone_mode"] = False
        sys.exit(self._exit_code(args, extra))

    def _exit_code(self, args: tuple[Any, ...], extra: dict[str, Any]) -> int:
        try:
            code = super().main(*args, **extra)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except BrokenPipeError:
            return _reader_left()
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 (whatever it is, the user gets a sentence)
            return _say(*_explanation(error))
        return code if isinstance(code, int) else 0


def _explanation(error: BaseException) -> tuple[str, int]:
    """What to tell the user, and the exit code."""
    match error:
        case KeyboardInterrupt() | click.Abort():
            return "interrupted", INTERRUPTED
        case SimctlError():
            return str(error), error.exit_code
        case OSError():
            return f"{error.filename or 'system'}: {error.strerror or error}", 1
        case MemoryError():
            return "this machine's memory is full: ask for fewer requests or users", 1
    if os.environ.get("SIMCTL_DEBUG"):
        raise error
    return f"internal error: {type(error).__name__}: {error}; SIMCTL_DEBUG=1 shows where; please report it", 1


def _say(message: str, code: int) -> int:
    click.echo(f"simctl: {message}", err=True)
    return code


def _reader_left() -> int:
    """The other end of the pipe is closed: whatever is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from sim.cli.provenance import simctl_version

        click.echo(f"simctl {simctl_version()}")
        ctx.exit()


@click.group(cls=Simctl, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Say it.")
def cli() -> None:
    """Simulates LLM serving engines on a GPU and finds how many users it carries before latency breaks."""


def main() -> None:
    """The console script."""
    # a fit solves thousands of small systems, on which the linear algebra's threads only wait for one another
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.stdout is None:  # closed by the caller, who wants files alone
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    cli(prog_name="simctl")
