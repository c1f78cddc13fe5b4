"""Requests as they really came: when each arrived and how long its prompt and its answer were, out of a file."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from simpy import Event

from sim.errors import BadScenario, UsageError
from sim.request import Request
from sim.workload import Port
from workloads.distributions import LONGEST_TOKENS, Sample
from workloads.units import PS_PER_S, parse_count, parse_number, to_ps

ARRIVAL, PROMPT, OUTPUT = COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
MOST_SECONDS = 1e10  # three centuries: later than any clock's epoch


@dataclass(frozen=True, slots=True)
class Trace:
    """Open loop with every arrival and both lengths of each request given: no chance is left in it."""

    text: str  # where it comes from
    arrivals_ps: tuple[int, ...]  # from the first one, never falling
    prompts: tuple[int, ...]
    outputs: tuple[int, ...]
    warmup: int = 0
    cooldown: int = 0
    limit: int | None = None

    @property
    def requests(self) -> int:
        """How many in all."""
        return len(self.arrivals_ps)

    @property
    def rate(self) -> float:
        """Requests a second from the first arrival to the last; of arrivals at one instant, as in a second."""
        return self.requests * PS_PER_S / (self.arrivals_ps[-1] or PS_PER_S)

    @property
    def prompt(self) -> Sample:
        """Lengths in the order of arrival."""
        return Sample(self.prompts, f"{self.text}:{PROMPT}")

    @property
    def output(self) -> Sample:
        """The same for answers."""
        return Sample(self.outputs, f"{self.text}:{OUTPUT}")

    def source(self, port: Port) -> "Replay":
        """The same requests in every run."""
        return Replay(self, port)


class Replay:
    """A running trace: one pending event, for the next arrival."""

    def __init__(self, trace: Trace, port: Port) -> None:
        self._env, self._send, self._limit = port.env, port.send, trace.limit
        self._left = enumerate(zip(trace.arrivals_ps, trace.prompts, trace.outputs, strict=True))
        self._next = next(self._left, None)

    def start(self) -> None:
        """Plan the first arrival."""
        self._plan()

    def ended(self, request: Request) -> None:
        """Nobody waits for the answer."""

    def _plan(self) -> None:
        if self._next is not None:
            self._env.call_in(self._next[1][0] - self._env.now, self._arrive)

    def _arrive(self, _: Event) -> None:
        assert self._next is not None
        number, (arrival_ps, prompt, output) = self._next
        self._send(Request(number, prompt, output, self._limit, arrival_ps))
        self._next = next(self._left, None)
        self._plan()


def read_trace(path: Path) -> Trace:
    """The trace in a CSV with the columns arrival_s, prompt_tokens and output_tokens, in any order and among others."""
    rows = sorted((_row(cells, path, line) for line, cells in _lines(path)), key=lambda row: row[0])
    if not rows:
        raise BadScenario(f"{path}: a header and no requests below it")
    arrivals, prompts, outputs = zip(*rows, strict=True)
    return Trace(str(path), tuple(to_ps(each - arrivals[0]) for each in arrivals), prompts, outputs)


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Every line below the header that is not blank, by column, with its number in the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = [name.strip().lower() for name in next(reader, [])]
            _require_columns(names, path)
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield reader.line_num, dict(zip(names, cells, strict=False))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadScenario(f"cannot read a trace from {path}: {error}") from error


def _require_columns(names: list[str], path: Path) -> None:
    for name in COLUMNS:
        if names.count(name) != 1:
            told = "twice" if name in names else "not there"
            raise BadScenario(f"{path}: column '{name}' is {told}; a trace needs {', '.join(COLUMNS)}")


def _row(cells: Mapping[str, str], path: Path, line: int) -> tuple[float, int, int]:
    """A request; what means nothing is the file's error."""
    try:
        arrival = parse_number(cells.get(ARRIVAL, ""), ARRIVAL)
        if not 0 <= arrival <= MOST_SECONDS:
            raise UsageError(f"{ARRIVAL} '{cells[ARRIVAL]}' is not a time from 0 to {MOST_SECONDS:g} s")
        prompt, output = (parse_count(cells.get(name, ""), name, LONGEST_TOKENS) for name in (PROMPT, OUTPUT))
    except UsageError as error:
        raise BadScenario(f"{path} line {line}: {error}") from None
    return arrival, prompt, output
