"""The rows of a comparison, out of the flags, each put on its machine or with the reason why it cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim import compose
from sim.cli.flags import Flags
from sim.cli.option_owners import option_owners
from sim.engine import Deployment
from sim.errors import DoesNotFit, NotSupported, SimctlError, UsageError
from sim.variant import Variant
from workloads.units import parse_size

DEFAULT_ENGINES = ("ollama", "llama_cpp", "vllm")
LABELS = {"llama_cpp": "llama.cpp"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A variant and its deployment, or the error that stands in its way."""

    variant: Variant
    deployment: Deployment | None
    error: SimctlError | None = None


def prepare(flags: Flags) -> list[Prepared]:
    """Every row that the flags name; an engine that is asked for by name and not supported is an error."""
    return [_deployed(variant, explicit=bool(flags.engine)) for variant in asked_variants(flags)]


def asked_variants(flags: Flags) -> list[Variant]:
    """The engines that the flags name, with the options they give them."""
    variants = [_variant(flags, name) for name in flags.engine or DEFAULT_ENGINES]
    if len({variant.id for variant in variants}) < len(variants):
        raise UsageError("--engine names the same engine twice: add a version, as ollama@0.12")
    return _with_options(variants, flags.engine_options)


def _variant(flags: Flags, text: str) -> Variant:
    """One engine as installed: `ollama@0.12` names a version."""
    name, _, version = text.partition("@")
    engine = compose.engine_name(name)
    label = LABELS.get(engine, engine)
    return Variant(
        id=f"{label}@{version}" if version else label,
        engine=engine,
        version=version or None,
        gpu=flags.gpu,
        gpus=flags.gpus,
        vram_bytes=None if flags.vram is None else parse_size(flags.vram, "--vram"),
        model=flags.model,
        host=flags.host,
        weights=flags.weights,
        kv_type=flags.kv_type,
        replicas=flags.replicas,
        router=flags.router,
        scheduler=flags.scheduler,
        profile=flags.profile,
        step_table=flags.step_table,
    )


def _with_options(variants: list[Variant], given: Sequence[tuple[str, str | None]]) -> list[Variant]:
    """Every engine option handed to the variants whose engine has it."""
    for written, text in given:
        owners, value = _owners(written, text, variants)
        variants = [
            replace(variant, options={**variant.options, owners[variant.engine]: value})
            if variant.engine in owners
            else variant
            for variant in variants
        ]
    return variants


def _owners(name: str, text: str | None, variants: list[Variant]) -> tuple[dict[str, str], Any]:
    """Who has the option, and its value; `--no-NAME` switches NAME off where no engine calls an option so."""
    value = True if text is None else compose.option_value(text)
    try:
        return option_owners(name, value, variants), value
    except UsageError:
        if text is not None or not name.startswith("no-"):
            raise
    return option_owners(name.removeprefix("no-"), False, variants), False  # noqa: FBT003


def _deployed(variant: Variant, *, explicit: bool) -> Prepared:
    """The variant on its machine. An engine that was asked for by name and is not supported is an error."""
    try:
        return Prepared(variant, compose.deploy(variant))
    except DoesNotFit as error:
        return Prepared(variant, None, error)
    except NotSupported as error:
        if explicit:
            raise
        return Prepared(variant, None, error)
