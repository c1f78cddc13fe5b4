"""`simctl list`: what names there are, and how far their figures can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import fields

import click

from reports.tables import Table, aligned
from sim.errors import UnknownName
from sim.hardware import Gpu, Host, Model

# What is written in a catalogue file and is no figure.
WORDS = ("id", "name", "vendor", "architecture", "memory_class", "family", "price_date", "native_weights", "recalled")
FILE_SIZES = "gguf_bits"


@click.command("list")
@click.argument("kind", metavar="gpus|hosts|models|engines|workloads|profiles|policies")
def command(kind: str) -> None:
    """What there is: gpus, hosts, models, engines, workloads, profiles, policies."""
    meant = [name for name in KINDS if name.startswith(kind.lower())]
    if len(meant) != 1:
        raise UnknownName("kind", kind, list(KINDS))
    click.echo("\n\n".join(aligned(table) for table in KINDS[meant[0]]()))


def gpus() -> list[Table]:
    """Cards by what decides how many users they carry."""
    from calibration import catalog
    from sim.hardware import GIB

    cards = [catalog.gpu(name) for name in catalog.names("gpu")]
    rows = tuple(
        (
            card.id,
            f"{card.memory_bytes / GIB:.1f}",
            f"{card.bandwidth_gbs:,.0f}",
            f"{card.fp16_tflops:,.1f}",
            "-" if card.price_usd_h is None else f"{card.price_usd_h:.2f}",
            *_recalled(card.recalled),
        )
        for card in cards
    )
    header = ("id", "GiB", "GB/s", "TFLOPS", "$/h", "recalled", "which")
    return [Table("GPUs", header, rows), _totals("GPUs", cards)]


def hosts() -> list[Table]:
    """Machines around a card."""
    from calibration import catalog
    from sim.hardware import GIB

    machines = [catalog.host(name) for name in catalog.names("host")]
    rows = tuple(
        (
            each.id,
            f"{each.ram_bytes / GIB:,.0f}",
            f"{each.ram_gbs:,.0f}",
            f"{each.cpu_tflops:g}",
            *_recalled(each.recalled),
        )
        for each in machines
    )
    header = ("id", "RAM GiB", "GB/s", "CPU TFLOPS", "recalled", "which")
    return [Table("Hosts", header, rows), _totals("hosts", machines)]


def models() -> list[Table]:
    """Models by their size in memory."""
    from calibration import catalog

    found = [catalog.model(name) for name in catalog.names("model")]
    rows = tuple(
        (
            model.id,
            f"{model.parameters / 1e9:,.1f}",
            f"{model.active_parameters / 1e9:,.1f}",
            f"{model.kv_bytes_per_token() / 1024:.0f}",
            f"{model.max_context // 1024}k",
            _kind(model),
            _recalled_parts(model),
        )
        for model in found
    )
    header = ("id", "10^9", "active", "KiB/tok", "context", "kind", "recalled")
    return [Table("Models", header, rows), _totals("models", found)]


def _kind(model: Model) -> str:
    """What makes it other than a dense model whose layers keep keys and values of every token."""
    marks = [
        f"MoE {model.experts_per_token}/{model.experts}" if model.experts else "",
        "MLA" if model.latent_kv else "",
        "window" if model.window else "",
    ]
    return " ".join(mark for mark in marks if mark) or "dense"


def _recalled_parts(model: Model) -> str:
    """How many figures no source was read for, and whether they are of the shape or of its files."""
    parts = {"files" if field == FILE_SIZES else "shape" for field in model.recalled}
    return " ".join([str(len(model.recalled)), *sorted(parts)])


def engines() -> list[Table]:
    """Engines with their versions, and then every option of each."""
    from sim import compose

    names = compose.engine_names()
    versions = tuple(
        (name, compose.engine(name).VERSIONS[-1], " ".join(compose.engine(name).VERSIONS)) for name in names
    )
    options = [
        Table(
            f"Options of {name}",
            ("option", "meaning"),
            tuple((f"--{option.replace('_', '-')}", text) for option, text in compose.engine(name).OPTIONS.items()),
        )
        for name in names
    ]
    return [Table("Engines", ("engine", "default", "versions, oldest first"), versions), *options]


def workloads() -> list[Table]:
    """Presets with their mean lengths and where those were measured."""
    from workloads.presets import preset, preset_names

    rows = tuple(
        (name, f"{found.prompt.mean:,.0f}", f"{found.output.mean:,.0f}", found.confidence, found.about)
        for name in preset_names()
        for found in [preset(name)]
    )
    return [Table("Workloads", ("name", "prompt", "output", "confidence", "what it is"), rows)]


def profiles() -> list[Table]:
    """What step times may follow from, and how far off each is by its own account."""
    from calibration.profile import BUILT_IN, load

    tables = []
    for profile in map(load, BUILT_IN):
        errors = [
            (way.replace("_", " "), f"{of['n']:,.0f}", f"{of['median_abs_error']:.1%}", f"{of['p90_abs_error']:.0%}")
            for way, of in profile.errors.items()
        ]
        header = ("predictions of times", "points", "median error", "90th percentile")
        tables.append(Table(f"{profile.name}: {len(profile.seen)} cards measured", header, tuple(errors)))
        bands = [
            (label.replace("/", ", "), *(f"{low:.2f} to {high:.2f}" for low, high in (of["step"], of["ttft"])))
            for label, of in profile.bands.items()
        ]
        columns = ("four of five measurements lie at", "of a step's time", "of the time to the first token")
        tables.append(Table("", columns, tuple(bands)))
    return [table for table in tables if table.rows] + [Table("datasheet: no fit, no bands", ("",), ())]


def policies() -> list[Table]:
    """Schedulers and routers."""
    from sim import compose

    rows = [("scheduler", name) for name in compose.scheduler_names()]
    rows += [("router", name) for name in compose.router_names()]
    return [Table("Policies", ("kind", "name"), tuple(rows))]


def _recalled(fields: tuple[str, ...]) -> tuple[str, str]:
    """How many figures no source was read for, and which."""
    return str(len(fields)), " ".join(fields)


def _totals(what: str, entries: Sequence[Gpu | Host | Model]) -> Table:
    """How far the whole list rests on memory."""
    figures = sum(_figures(entry) for entry in entries)
    recalled = sum(len(entry.recalled) for entry in entries)
    counts = (f"{len(entries)}", f"{figures:,}", f"{recalled:,}", f"{100 * recalled / figures:.0f}%")
    return Table(
        "In all (recalled: no source was read, so the band is wider)", (what, "figures", "recalled", ""), (counts,)
    )


def _figures(entry: Gpu | Host | Model) -> int:
    """Figures that an entry states."""
    stated = (getattr(entry, field.name) for field in fields(entry) if field.name not in WORDS)
    return sum(1 for value in stated if value is False or value)


KINDS: dict[str, Callable[[], list[Table]]] = {
    "gpus": gpus,
    "hosts": hosts,
    "models": models,
    "engines": engines,
    "workloads": workloads,
    "profiles": profiles,
    "policies": policies,
}
