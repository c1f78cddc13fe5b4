"""The flags that commands share, and what they say once they are read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from sim.cli.engine_options import META_KEY, EngineOptions
from sim.cli.scenario_command import TYPED_KEY
from sim.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Flags:
    """What was typed, flag by flag; None where nothing was."""

    gpu: str
    gpus: int
    replicas: int
    router: str
    host: str | None
    vram: str | None
    model: str
    engine: tuple[str, ...]
    weights: str | None
    kv_type: str | None
    scheduler: str | None
    profile: str | None
    step_table: str | None
    users: str
    load: str
    workload: str
    prompt_tokens: str | None
    output_tokens: str | None
    trace: str | None
    think: str
    requests: int | None
    timeout: str | None
    retries: int
    seeds: int
    seed: int
    slo: str
    jobs: int | None
    output: tuple[str, ...]
    quiet: bool
    dry_run: bool
    resume: bool
    fail_if: tuple[str, ...]
    explain: bool
    sensitivity: bool
    engine_options: EngineOptions
    users_given: bool = False  # for this load, and not as the command has them


def read(flags: dict[str, Any]) -> Flags:
    """The flags of the command that click is running, with the engine options set aside for it."""
    running = click.get_current_context()
    return Flags(**flags, engine_options=running.meta[META_KEY], users_given=_users_given(running))


def _users_given(running: click.Context) -> bool:
    """A file's users belong to the file's load, and not to one that was typed beside it."""
    typed = running.meta.get(TYPED_KEY, ())
    if "load" in typed and "users" not in typed:
        return False
    return running.get_parameter_source("users") is not ParameterSource.DEFAULT


def shared(users: str, seeds: int, **changes: dict[str, Any]) -> Callable[[Command], Command]:
    """Declare all flags; the commands differ in their default users and seeds, and in what `changes` says."""
    return options(DECLARED, users={"default": users}, seeds={"default": seeds}, **changes)


def options(names: Iterable[str], **changes: dict[str, Any]) -> Callable[[Command], Command]:
    """Declare some flags, each with the attributes that `changes` gives it instead of the usual ones."""

    def declare(command: Command) -> Command:
        for name in reversed(list(names)):
            words = WORDS.get(name, (f"--{name.replace('_', '-')}",))
            command = click.option(*words, **{**DECLARED[name], **changes.get(name, {})})(command)
        return command

    return declare


def unset() -> dict[str, Any]:
    """Every flag as it is where nothing is typed."""
    return {name: () if "multiple" in given else given.get("default") for name, given in DECLARED.items()}


def typed(name: str, value: Any, where: str) -> Any:
    """A value as the flag itself would read it; an error says where it was given."""
    declared = DECLARED[name]
    if declared.get("multiple"):
        return (value,) if isinstance(value, str) else tuple(value)
    kind = declared.get("type")
    try:
        return kind.convert(value, None, None) if kind else value if isinstance(value, bool) else str(value)
    except click.BadParameter as error:
        raise UsageError(f"{where}: {error.message}") from None


def _flag(told: str, **attributes: Any) -> dict[str, Any]:
    return {"help": told, **attributes}


WORDS = {"output": ("-o", "--output"), "explain": ("--explain/--no-explain",)}
DECLARED: dict[str, dict[str, Any]] = {
    "gpu": _flag("The card: a100-40g, rtx-4090 ... or a TOML file.", required=True, metavar="NAME"),
    "gpus": _flag("Cards that share one copy.", type=click.IntRange(1, 1024), default=1),
    "replicas": _flag("Copies behind the router.", type=click.IntRange(1, 1024), default=1),
    "router": _flag("Which replica gets a request.", default="round_robin", metavar="NAME"),
    "host": _flag("The machine around the card; the usual one if left out.", metavar="NAME"),
    "vram": _flag("Memory of the card, as 40GiB, instead of the catalogue's.", metavar="SIZE"),
    "model": _flag("The model to serve.", default="llama-3.1-8b", metavar="NAME"),
    "engine": _flag("An engine to compare; repeatable.", multiple=True, metavar="NAME[@VERSION]"),
    "weights": _flag("Weight format for every engine: q4_k_m, fp16, fp8 ...", metavar="TYPE"),
    "kv_type": _flag("Type of the KV cache: f16, fp8, q8_0 ...", metavar="TYPE"),
    "scheduler": _flag("A policy instead of the engine's: sjf:noise=0.3.", metavar="NAME[:K=V]"),
    "profile": _flag("What step times follow from: measured, datasheet, a calibrated file.", metavar="NAME"),
    "step_table": _flag("Measured step times instead of a profile.", metavar="FILE"),
    "users": _flag("1..128 doubles and refines, 1..128/8, 1,10,50.", default="1..128", metavar="N"),
    "load": _flag("closed, burst, offline:N, poisson:R ...", default="closed", metavar="KIND"),
    "workload": _flag("Lengths as measured: chat, code, rag ...", default="chat", metavar="NAME"),
    "prompt_tokens": _flag("512, uniform:64,512, lognormal:mean=..., file.csv.", metavar="LENGTHS"),
    "output_tokens": _flag("The same for answers.", metavar="LENGTHS"),
    "trace": _flag("Requests of a CSV: arrival_s, prompt_tokens, output_tokens.", metavar="FILE"),
    "think": _flag("Pause between messages: 10s, exp:10s.", default="0s", metavar="TIME"),
    "requests": _flag("Measured requests at each load.", type=click.IntRange(1, 10_000_000)),
    "timeout": _flag("The client's patience, as 60s.", metavar="TIME"),
    "retries": _flag("New attempts after a failure.", type=click.IntRange(0, 100), default=0),
    "seeds": _flag("Runs of each load.", type=click.IntRange(1, 1000), default=3),
    "seed": _flag("The first seed.", type=click.IntRange(0, 2**32), default=0),
    "slo": _flag("chat, interactive ... or ttft=500ms,tpot=40ms.", default="chat", metavar="SLO"),
    "jobs": _flag("Processes; as many as cores if left out.", type=click.IntRange(1, 4096)),
    "output": _flag("table, json, jsonl, csv, md, html, parquet.", multiple=True, metavar="FORMAT[=PATH]"),
    "resume": _flag("Go on where it was cut off, with the same output.", is_flag=True, default=False),
    "fail_if": _flag("Exit 99: capacity<50, ttft_p99>1s, slo.", multiple=True, metavar="CONDITION"),
    "explain": _flag("Prove each cause by moving its knob.", default=True),
    "sensitivity": _flag("Capacity by lengths, pauses and memory too.", is_flag=True, default=False),
    "quiet": _flag("No progress and no warnings on stderr.", is_flag=True, default=False),
    "dry_run": _flag("Say what would be run and what fits, and stop.", is_flag=True, default=False),
}
