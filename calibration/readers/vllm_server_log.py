"""vLLM's server log: the throughput that it prints every few seconds, and the size of its KV cache."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from calibration.parsing.rows import Row, gather
from calibration.parsing.vllm_header import header_of
from calibration.points import Point, Reading

FORMAT = "vLLM server log"
PITFALLS = (
    "throughputs are means of the seconds since the line before; running, waiting and KV usage are of its last moment",
    "a stretch counts where as many requests ran at its end as at the end of the one before, to a tenth",
    "a stretch with prompts is a closed load of all that ran and waited; without any it is decode steps",
    "a prompt counts when it is complete, so decode steps also ask that nothing waited and no prompt follows",
    "the context of a decode step is that of the blocks in use, shared by those that ran, to 0.1% of the pool",
)

LINE = re.compile(
    r"(?:Engine (?P<engine>\d{1,6}): )?Avg prompt throughput: (?P<prompt>\S+) tokens/s, "
    r"Avg generation throughput: (?P<output>\S+) tokens/s, Running: (?P<running>\d+) reqs, "
    r"(?:Swapped: (?P<swapped>\d+) reqs, )?(?:Waiting|Pending): (?P<waiting>\d+) reqs"
    r"(?:[^\n]{0,200}?KV cache usage: (?P<usage>[\d.]+)%)?"
)
SIGNS = ("Avg generation throughput:", "LLM engine (v", "# GPU blocks:", "KV cache size: ")
PRINTED = {  # what the groups of a line are called in it
    "prompt": "Avg prompt throughput",
    "output": "Avg generation throughput",
    "running": "Running",
    "waiting": "Waiting",
    "swapped": "Swapped",
    "usage": "KV cache usage",
}
STEADY = 0.1
NEAR = 64  # lines, which as many engines may share

Figures = dict[str, str | None]


def recognises(head: str) -> bool:
    """By a line of throughputs, or by what is printed at the start."""
    return any(sign in head for sign in SIGNS)


def read(text: str, source: str, path: Path) -> Reading:
    """A point a stretch between two lines; stretches in which the number of requests changed are refused."""
    header = header_of(text)
    found, rejected = gather(_stretches(text), partial(_point, header.server(source)), str(path))
    doubts = (f"the server was started with different {', '.join(header.changed)}: left blank",)
    return Reading(FORMAT, tuple(found), tuple(rejected), header.facts, PITFALLS + (doubts if header.changed else ()))


def _stretches(text: str) -> Iterator[Row]:
    """The figures of each line, with those of the lines before and after it of the same engine."""
    lines: list[tuple[int, Figures]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if "Avg generation throughput:" in line:
            found = LINE.search(line)
            lines.append((number, dict(found.groupdict()) if found else {"line": "is not as these lines are"}))
    for index, (number, figures) in enumerate(lines):
        before = _nearest(figures, [other for _, other in lines[max(0, index - NEAR) : index]][::-1])
        after = _nearest(figures, [other for _, other in lines[index + 1 : index + 1 + NEAR]])
        around = {"began": before.get("running"), "waited": before.get("waiting"), "prompt_after": after.get("prompt")}
        yield Row({**{PRINTED.get(name, name): figure for name, figure in figures.items()}, **around}, number)


def _nearest(figures: Figures, others: list[Figures]) -> Figures:
    """The first of the others that is the same engine's; engines take turns in the log."""
    return next((other for other in others if other.get("engine") == figures.get("engine")), {})


def _point(server: Point, row: Row) -> Point:
    if "line" in row:
        raise row.refuse("line", row.text("line"))
    running, rate = row.needed("Running"), row.needed("Avg generation throughput")
    began = row.amount("began") or 0.0
    if abs(running - began) > STEADY * running:
        raise row.refuse("Running", f"{began:g} requests ran when it began and {running:g} when it ended")
    if row.amount("Avg prompt throughput"):
        users = running + (row.amount("Waiting") or 0.0) + (row.amount("Swapped") or 0.0)
        return replace(
            server,
            load="single" if users == 1 else "closed",
            load_value=users,
            output_tps=rate,
            notes=f"a stretch between two log lines; {row.text('Avg prompt throughput')} prompt tok/s",
        )
    if began != running or any(row.amount(name) for name in ("waited", "Waiting", "prompt_after")):
        raise row.refuse("Avg prompt throughput", "is 0, but a prompt may have been under way")
    return replace(
        server,
        load="decode_step",
        load_value=running,
        depth_tokens=_context(row, server.kv_tokens, running),
        output_tps=rate,
        tpot_ms_mean=1e3 * running / rate,
        notes="a stretch between two log lines, without prompts",
    )


def _context(row: Row, pool: int | None, running: float) -> float | None:
    usage = row.amount("KV cache usage")
    if usage is not None and usage > 100:
        raise row.refuse("KV cache usage", f"{usage:g}% is more than all of it")
    return usage / 100 * pool / running if usage and pool else None
