"""llama-server's log, request by request: what a slot printed when it was done, and how many slots were busy meanwhile.

Three generations of the format: figures on lines of their own behind a `print_timing` line, figures with the slot and
the task on the same line, and before both of them a list of `name=value` at the end of the line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from calibration.parsing.rows import Row

FIGURE = re.compile(r"(?:\b(prompt|generation) +)?\beval time +=\s+(\S+) ms /\s+(\S+) (?:tokens|runs)")
OWNER = re.compile(r"\bid +(\d{1,9}) \| task +(\d{1,9}) \||id_slot=(\d{1,9}) id_task=(\d{1,9})")
BEGINS = ("processing task", "slot is processing")
ENDS = ("stop processing", "slot released")
MARKS = ("eval time", "print_timing", "n_slots", *BEGINS, *ENDS)
HELD = re.compile(r"\b(?:n_tokens|n_past) ?= ?(\d+)")
SLOTS = re.compile(r"\bn_slots ?= ?(\d+)")
CLOCK = re.compile(r"(\d{1,6})\.(\d\d)\.(\d{3})\.(\d{3}) ")  # minutes, seconds, ms, µs since the start


@dataclass(slots=True)
class Served:
    """One request: when it held a slot, and the figures printed for it."""

    line: int
    run: int  # which start of the server; slots and tasks are counted anew
    began: float | None = None
    ended: float | None = None
    values: dict[str, object] = field(default_factory=dict)
    busy: float | None = None  # slots at work while it ran, itself included, on average

    @property
    def row(self) -> Row:
        """The figures, on the line where they were printed."""
        return Row(self.values, self.line)


@dataclass(slots=True)
class _Reading:
    """Where the reading of a log stands."""

    clocked: bool
    served: dict[tuple[int, int, int], Served] = field(default_factory=dict)
    run: int = 0
    owner: tuple[int, int, int] | None = None
    events: int = 0

    def see(self, number: int, line: str) -> None:
        if SLOTS.search(line):
            self.run, self.owner = self.run + 1, None
            return
        if owner := OWNER.search(line):
            self.owner = (self.run, int(owner[1] or owner[3]), int(owner[2] or owner[4]))
        if self.owner is None:
            return
        request = self.served.setdefault(self.owner, Served(number, self.run))
        if any(mark in line for mark in BEGINS):
            request.began = self._time(line)
        elif any(mark in line for mark in ENDS):
            request.ended = self._time(line)
            if held := HELD.search(line):
                request.values["held"] = held[1]
        elif figure := FIGURE.search(line):
            name = "prompt" if figure[1] == "prompt" else "eval"
            request.values |= {f"{name}_ms": figure[2], f"{name}_tokens": figure[3].replace(",", "")}
            request.line = number

    def _time(self, line: str) -> float:
        """Seconds by the log's clock; without one, the number of beginnings and ends so far."""
        self.events += 1
        if not self.clocked or not (clock := CLOCK.match(line)):
            return float(self.events)
        minutes, seconds, ms, us = map(int, clock.groups())
        return minutes * 60 + seconds + ms / 1e3 + us / 1e6


def served(text: str) -> list[Served]:
    """Every request that held a slot or had figures printed, in the order of their first lines."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if any(mark in line for mark in MARKS)]
    reading = _Reading(all(CLOCK.match(line) for _, line in lines if any(mark in line for mark in BEGINS + ENDS)))
    for number, line in lines:
        reading.see(number, line)
    requests = list(reading.served.values())
    runs: dict[int, list[Served]] = {}
    for request in requests:
        runs.setdefault(request.run, []).append(request)
    for together in runs.values():
        _count_company(together)
    return requests


def _count_company(requests: list[Served]) -> None:
    """How many slots were busy on average while each request ran, of one start of the server."""
    area, busy, before = 0.0, 0, 0.0
    began: dict[int, float] = {}
    for when, change, index in sorted(_changes(requests)):
        area += busy * (when - before)
        before, busy = when, busy + change
        if change > 0:
            began[index] = area
            continue
        requests[index].busy = (area - began[index]) / (when - (requests[index].began or 0.0))


def _changes(requests: list[Served]) -> Iterator[tuple[float, int, int]]:
    """Slots taken and given back, with the request's place; what never gave its slot back holds it to the end."""
    last = max((request.ended or 0.0 for request in requests), default=0.0)
    for index, request in enumerate(requests):
        if request.began is not None:
            ended = request.ended if request.ended is not None else max(last, request.began)
            if ended > request.began:
                yield request.began, 1, index
                yield ended, -1, index
