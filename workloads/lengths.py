"""How long prompts and answers are, read from the text a user types."""

from collections.abc import Callable
from pathlib import Path

from sim.errors import UnknownName, UsageError
from workloads.distributions import (
    LOGNORMAL_MAX_TOKENS,
    LONGEST_TOKENS,
    Fixed,
    Lengths,
    Lognormal,
    Quantiles,
    Sample,
    Uniform,
    stream,
)
from workloads.length_files import read_column
from workloads.units import parse_count, parse_number

__all__ = ["Lengths", "parse_lengths", "stream"]

CV_WHEN_UNSTATED = 1.0


def parse_lengths(text: str, column: str | None = None) -> Lengths:
    """A distribution from `512`, `uniform:64,512`, `lognormal:mean=211,p99=601` or `file.csv`.

    `column` picks one of several in a file, unless the text does: `file.csv:NAME`.
    """
    text = text.strip()
    path, dot_csv, named = text.rpartition(".csv")
    if dot_csv and (not named or named.startswith(":")):
        return _from_file(path + dot_csv, named[1:] or column)
    kind, colon, arguments = text.partition(":")
    if not colon and text[:1].isdigit():
        return _fixed(text)
    parse = FAMILIES.get(kind.strip().lower())
    if parse is None:
        raise UnknownName("lengths", text, [*FAMILIES, "file.csv"])
    return parse(arguments)


def _from_file(path: str, column: str | None) -> Sample:
    tokens, found = read_column(Path(path), column)
    return Sample(tokens, f"{path}:{found}" if found else path)


def _fixed(arguments: str) -> Fixed:
    return Fixed(_count(arguments))


def _uniform(arguments: str) -> Uniform:
    bounds = arguments.split(",")
    if len(bounds) != 2:
        raise UsageError(f"lengths 'uniform:{arguments}' need two bounds: write uniform:64,512")
    return Uniform(*map(_count, bounds))


def _lognormal(arguments: str) -> Lognormal:
    """A lone number is the mean; the coefficient of variation is 1 unless something states it."""
    given = _options(arguments if "=" in arguments else f"mean={arguments}", "lognormal")
    max_tokens = _count(given.pop("max", str(LOGNORMAL_MAX_TOKENS)))
    numbers = {name: parse_number(text, f"lognormal {name}") for name, text in given.items()}
    match numbers:
        case {"mean": mean, **rest} if not rest:
            return Lognormal.from_mean_cv(mean, CV_WHEN_UNSTATED, max_tokens)
        case {"mean": mean, "cv": cv, **rest} if not rest:
            return Lognormal.from_mean_cv(mean, cv, max_tokens)
        case {"mean": mean, "p99": p99, **rest} if not rest:
            return Lognormal.from_mean_p99(mean, p99, max_tokens)
        case {"mu": mu, "sigma": sigma, **rest} if not rest:
            return Lognormal(mu, sigma, max_tokens)
    raise UsageError(
        f"lengths 'lognormal:{arguments}' are not one of mean=,p99= or mean=,cv= or mu=,sigma= (each may add max=)"
    )


def _quantiles(arguments: str) -> Quantiles:
    table = _options(arguments, "quantiles")
    percent = tuple(parse_number(name, "percentage in quantiles") for name in table)
    tokens = tuple(parse_number(text, "tokens in quantiles") for text in table.values())
    return Quantiles(percent, tokens)


def _options(arguments: str, kind: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in arguments.split(","):
        name, equals, text = part.partition("=")
        if not equals or name.strip().lower() in pairs:
            raise UsageError(f"'{part}' in '{kind}:{arguments}' is not one new name=value")
        pairs[name.strip().lower()] = text
    return pairs


def _count(text: str) -> int:
    return parse_count(text, "length in tokens", LONGEST_TOKENS)


FAMILIES: dict[str, Callable[[str], Lengths]] = {
    "fixed": _fixed,
    "uniform": _uniform,
    "lognormal": _lognormal,
    "quantiles": _quantiles,
}
