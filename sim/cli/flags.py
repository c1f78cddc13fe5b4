"""The flags that `run` and `sweep` share, and what they say once they are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from sim.cli.engine_options import META_KEY, EngineOptions

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
    step_table: str | None
    users: str
    load: str
    workload: str
    prompt_tokens: str | None
    output_tokens: str | None
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
    engine_options: EngineOptions


def read(flags: dict[str, Any]) -> Flags:
    """The flags of the command that click is running, with the engine options set aside for it."""
    return Flags(**flags, engine_options=click.get_current_context().meta[META_KEY])


def shared(users: str, seeds: int) -> Callable[[Command], Command]:
    """Declare the flags; the commands differ in their default users and seeds."""
    declared = [
        click.option("--gpu", required=True, metavar="NAME", help="The card: a100-40g, rtx-4090 ... or a TOML file."),
        click.option("--gpus", type=click.IntRange(1, 1024), default=1, help="Cards that share one copy."),
        click.option("--replicas", type=click.IntRange(1, 1024), default=1, help="Copies behind the router."),
        click.option("--router", default="round_robin", metavar="NAME", help="Which replica gets a request."),
        click.option("--host", metavar="NAME", help="The machine around the card; the usual one if left out."),
        click.option("--vram", metavar="SIZE", help="Memory of the card, as 40GiB, instead of the catalogue's."),
        click.option("--model", default="llama-3.1-8b", metavar="NAME", help="The model to serve."),
        click.option("--engine", multiple=True, metavar="NAME[@VERSION]", help="An engine to compare; repeatable."),
        click.option("--weights", metavar="TYPE", help="Weight format for every engine: q4_k_m, fp16, fp8 ..."),
        click.option("--kv-type", metavar="TYPE", help="Type of the KV cache: f16, fp8, q8_0 ..."),
        click.option("--scheduler", metavar="NAME[:K=V]", help="A policy instead of the engine's: sjf:noise=0.3."),
        click.option("--step-table", metavar="FILE", help="Measured step times instead of the data sheet."),
        click.option("--users", default=users, metavar="N", help="1..128 doubles and refines, 1..128/8, 1,10,50."),
        click.option("--load", default="closed", metavar="KIND", help="closed, burst, offline:N, poisson:R ..."),
        click.option("--workload", default="chat", metavar="NAME", help="Lengths as measured: chat, code, rag ..."),
        click.option("--prompt-tokens", metavar="LENGTHS", help="512, uniform:64,512, lognormal:mean=..., file.csv."),
        click.option("--output-tokens", metavar="LENGTHS", help="The same for answers."),
        click.option("--think", default="0s", metavar="TIME", help="Pause between messages: 10s, exp:10s."),
        click.option("--requests", type=click.IntRange(1, 10_000_000), help="Measured requests at each load."),
        click.option("--timeout", metavar="TIME", help="The client's patience, as 60s."),
        click.option("--retries", type=click.IntRange(0, 100), default=0, help="New attempts after a failure."),
        click.option("--seeds", type=click.IntRange(1, 1000), default=seeds, help="Runs of each load."),
        click.option("--seed", type=click.IntRange(0, 2**32), default=0, help="The first seed."),
        click.option("--slo", default="chat", metavar="SLO", help="chat, interactive ... or ttft=500ms,tpot=40ms."),
        click.option("--jobs", type=click.IntRange(1, 4096), help="Processes; as many as cores if left out."),
        click.option(
            "-o", "--output", multiple=True, metavar="FORMAT[=PATH]", help="table, json, jsonl, csv, md, html."
        ),
        click.option("--resume", is_flag=True, help="Go on where a sweep with the same output was cut off."),
        click.option("--fail-if", multiple=True, metavar="CONDITION", help="Exit 99: capacity<50, ttft_p99>1s, slo."),
        click.option("--explain/--no-explain", default=True, help="Prove each cause by moving its knob."),
        click.option("--quiet", is_flag=True, help="No progress and no warnings on stderr."),
        click.option("--dry-run", is_flag=True, help="Say what would be run and what fits, and stop."),
    ]

    def declare(command: Command) -> Command:
        for option in reversed(declared):
            command = option(command)
        return command

    return declare
