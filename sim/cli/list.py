"""`simctl list`: what names there are, and how far their figures can be trusted."""

from collections.abc import Callable

import click

from reports.tables import Table, aligned
from sim.errors import UnknownName


@click.command("list")
@click.argument("kind", metavar="gpus|hosts|models|engines|workloads|policies")
def command(kind: str) -> None:
    """What there is: gpus, hosts, models, engines, workloads, policies."""
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
    return [Table("GPUs", ("id", "GiB", "GB/s", "TFLOPS", "$/h", "recalled", "which"), rows)]


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
    return [Table("Hosts", ("id", "RAM GiB", "GB/s", "CPU TFLOPS", "recalled", "which"), rows)]


def models() -> list[Table]:
    """Models by their size in memory."""
    from calibration import catalog

    found = [catalog.model(name) for name in catalog.names("model")]
    rows = tuple(
        (
            model.id,
            f"{model.parameters / 1e9:.1f}",
            f"{model.kv_bytes_per_token() / 1024:.0f}",
            f"{model.max_context:,}",
            *_recalled(model.recalled),
        )
        for model in found
    )
    return [Table("Models", ("id", "10^9 params", "KV KiB/token", "context", "recalled", "which"), rows)]


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


def policies() -> list[Table]:
    """Schedulers and routers."""
    from sim import compose

    rows = [("scheduler", name) for name in compose.scheduler_names()]
    rows += [("router", name) for name in compose.router_names()]
    return [Table("Policies", ("kind", "name"), tuple(rows))]


def _recalled(fields: tuple[str, ...]) -> tuple[str, str]:
    """How many figures no source was read for, and which."""
    return str(len(fields)), " ".join(fields)


KINDS: dict[str, Callable[[], list[Table]]] = {
    "gpus": gpus,
    "hosts": hosts,
    "models": models,
    "engines": engines,
    "workloads": workloads,
    "policies": policies,
}
