"""Commands that also take every option of an engine, under the engine's own name."""

import re

import click

META_KEY = "simctl.engine_options"
_NUMBER = re.compile(r"-\.?[0-9].*")

EngineOptions = tuple[tuple[str, str | None], ...]


class EngineCommand(click.Command):
    """Sets aside the options that are not simctl's own; whose they are is known once the engines are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the engines' options and parse the rest as usual."""
        own, ctx.meta[META_KEY] = self.parse_words(ctx, args)
        return super().parse_args(ctx, own)

    def parse_words(self, ctx: click.Context, words: list[str]) -> tuple[list[str], EngineOptions]:
        """The words that the command understands itself, and the engines' options."""
        return split_words(words, self.own_options(ctx))

    def own_options(self, ctx: click.Context) -> dict[str, bool]:
        """The command's own options, and whether each takes a value."""
        return {
            word: isinstance(option, click.Option) and not option.is_flag and not option.count
            for option in self.get_params(ctx)
            for word in (*option.opts, *option.secondary_opts)
            if word.startswith("-")
        }


def split_words(words: list[str], own_options: dict[str, bool]) -> tuple[list[str], EngineOptions]:
    """The words that simctl understands itself, and the other options with their values as written.

    An engine's option takes the next word unless that is an option too; without a value it is switched on, and
    `--no-NAME` switches NAME off.
    """
    own: list[str] = []
    others: list[tuple[str, str | None]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--" or not _is_option(word):
            own.append(word)
        elif name in own_options or word[:2] in own_options:
            own.append(word)
            if not equals and own_options.get(word) and rest:
                own.append(rest.pop(0))
        else:
            takes_next = not equals and rest and not _is_option(rest[0])
            others.append((name.lstrip("-"), value if equals else rest.pop(0) if takes_next else None))
    return own, tuple(others)


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.fullmatch(word)
