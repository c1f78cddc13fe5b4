"""Commands that take their flags from a scenario file too."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from sim.cli.engine_options import EngineCommand, EngineOptions
from sim.cli.scenario_files import ScenarioFile, engine_value, flag_words, read
from sim.errors import BadScenario, NotSupported, UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

META_KEY = "simctl.scenario_file"
TYPED_KEY = "simctl.typed_beside_it"


def scenario_argument(command: Command) -> Command:
    """Declare the file that a command may take its flags from."""
    declare = click.argument("scenario", required=False, expose_value=False, metavar="[SCENARIO.toml|RESULTS.json]")
    return declare(command)


class ScenarioCommand(EngineCommand):
    """Takes flags from a file too; what is typed beside it comes first."""

    def parse_words(self, ctx: click.Context, words: list[str]) -> tuple[list[str], EngineOptions]:
        """The words of the file, then those that were typed, which win."""
        own, others = super().parse_words(ctx, words)
        positional = list(self._positional(ctx, own))
        if not positional:
            return own, others
        file = read(Path(positional[0]))
        ctx.meta[META_KEY] = file
        typed = {option.name for option in self._options(ctx) for word in own if _gives(word, option)}
        ctx.meta[TYPED_KEY] = typed
        from_file, more = self._words_of(ctx, file, typed)
        return [*from_file, *own], (*more, *others)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; a value of the file that means nothing is the file's error."""
        try:
            return super().invoke(ctx)
        except (UsageError, NotSupported) as error:
            file: ScenarioFile | None = ctx.meta.get(META_KEY)
            key = file.blamed(error) if file else None
            if file is None or key is None:
                raise
            raise BadScenario(f"{file.where(key)}: {error}") from None

    def _options(self, ctx: click.Context) -> list[click.Option]:
        return [option for option in self.get_params(ctx) if isinstance(option, click.Option)]

    def _positional(self, ctx: click.Context, own: Sequence[str]) -> Iterator[str]:
        takes_value, rest = self.own_options(ctx), iter(own)
        for word in rest:
            if takes_value.get(word):
                next(rest, None)
            elif not word.startswith("-"):
                yield word

    def _words_of(self, ctx: click.Context, file: ScenarioFile, typed: set[str]) -> tuple[list[str], EngineOptions]:
        flags = {opt.lstrip("-"): option for option in self._options(ctx) for opt in option.opts if opt[:2] == "--"}
        own: list[str] = []
        others: list[tuple[str, str | None]] = []
        for key, value in file.table.items():
            option = flags.get(key)
            if value is None or (option is not None and option.name in typed):
                continue
            if option is None:
                others.append((key, engine_value(file, key, value, list(flags))))
            else:
                own += flag_words(ctx, file, key, value, option)
        return own, tuple(others)


def _gives(word: str, option: click.Option) -> bool:
    names = [*option.opts, *option.secondary_opts]
    return word.partition("=")[0] in names or (word[:2] in names and not word.startswith("--"))
