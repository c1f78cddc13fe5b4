"""The combinations of a comparison, each a study of its own whose variants are named after the settings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sim.cli import dry_run
from sim.cli.flags import Flags
from sim.cli.study import Study, study
from sim.cli.variants import Prepared, asked_variants
from sim.cli.varying import Axis, Setting, applied, parse_axes, settings, words
from sim.errors import NotSupported, UsageError


@dataclass(frozen=True)
class Case:
    """One combination: its settings, and its study, whose variants are named after them."""

    setting: Setting
    study: Study
    kinds: tuple[str, ...]  # what each variant is called without the settings


def cases(flags: Flags, vary: Sequence[str]) -> list[Case]:
    """Every combination, resolved; combinations that an engine does not support are kept with the reason."""
    axes = parse_axes(vary)
    if flags.gpu is None and not any(axis.flag == "gpu" for axis in axes):
        raise UsageError("no card is named: write --gpu NAME, or --vary gpu=a100-40g,h100")
    resolved = [(setting, applied(flags, axes, setting)) for setting in settings(axes)]
    studies = [(setting, _study(asked)) for setting, asked in resolved]
    if all(isinstance(found, NotSupported) for _, found in studies):
        raise next(found for _, found in studies if isinstance(found, NotSupported))
    whole = next(found for _, found in studies if isinstance(found, Study))
    chosen = []
    for (setting, found), (_, asked) in zip(studies, resolved, strict=True):
        made = found if isinstance(found, Study) else _unsupported(whole, asked, found)
        chosen.append(_named(made, setting, axes))
    _require_one(chosen)
    return chosen


def _study(flags: Flags) -> Study | NotSupported:
    try:
        return study(flags)
    except NotSupported as error:
        return error


def _unsupported(like: Study, flags: Flags, error: NotSupported) -> Study:
    """A study of variants none of which can be deployed."""
    rows = tuple(Prepared(variant, None, error) for variant in asked_variants(flags))
    return replace(like, flags=flags, rows=rows)


def _named(found: Study, setting: Setting, axes: Sequence[Axis]) -> Case:
    """Variants under names that tell them apart: the settings, and the engine where they do not name it."""
    told = " ".join(words(setting))
    by_engine = any(axis.flag == "engine" for axis in axes) or len(found.rows) == 1
    kinds = tuple("" if by_engine else row.variant.id for row in found.rows)
    names = [" ".join(filter(None, (kind, told))) for kind in kinds]
    rows = tuple(
        replace(row, variant=replace(row.variant, id=name)) for row, name in zip(found.rows, names, strict=True)
    )
    return Case(setting, replace(found, rows=rows), kinds)


def _require_one(chosen: Sequence[Case]) -> None:
    """Raise when nothing can be run at all."""
    replace(chosen[0].study, rows=_all_rows(chosen)).require_one()


def describe(chosen: Sequence[Case]) -> str:
    """What would be run: the memory of every variant; loads and lengths as the first combination has them."""
    return dry_run.describe(replace(chosen[0].study, rows=_all_rows(chosen)))


def _all_rows(chosen: Sequence[Case]) -> tuple[Prepared, ...]:
    return tuple(row for case in chosen for row in case.study.rows)
