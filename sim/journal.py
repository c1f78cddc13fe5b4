"""What happened in a run, in columns: strides instead of tokens, one row a request."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.batch import Batch
from sim.cache import Usage
from sim.request import End, Request

if TYPE_CHECKING:
    from sim.core import Core

STRIDE_COLUMNS = (
    "start_ps",
    "first_ps",
    "growth_ps",
    "steps",
    "decodes",
    "prompt_tokens",
    "running",
    "waiting",
    "context",
)
REQUEST_COLUMNS = (
    "id",
    "user",
    "attempt",
    "arrival_ps",
    "entered_ps",
    "admitted_ps",
    "first_token_ps",
    "end_ps",
    "end",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "own_prefill_ps",
    "prefill_ps",
    "decode_ps",
    "preemption_ps",
)
ENDS = tuple(End)
_END_NUMBER = {end: number for number, end in enumerate(ENDS)}
_ROWS_A_CHUNK = 4096
_DECISIONS_A_SAMPLE = 8

Columns = dict[str, NDArray[np.int64]]


class Table:
    """Rows of integers, packed into arrays as they come."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._rows: list[tuple[int, ...]] = []
        self._chunks: list[NDArray[np.int64]] = []

    def append(self, row: tuple[int, ...]) -> None:
        """Add a row."""
        rows = self._rows
        rows.append(row)
        if len(rows) == _ROWS_A_CHUNK:
            self._pack()

    def columns(self) -> Columns:
        """All rows as one array a column."""
        self._pack()
        whole = np.concatenate(self._chunks) if self._chunks else np.empty((0, len(self.names)), np.int64)
        return {name: np.ascontiguousarray(whole[:, number]) for number, name in enumerate(self.names)}

    def _pack(self) -> None:
        if self._rows:
            self._chunks.append(np.array(self._rows, dtype=np.int64))
            self._rows = []


class Journal:
    """The record of one replica."""

    def __init__(self) -> None:
        self.strides = Table(STRIDE_COLUMNS)
        self.record = self.strides.append
        self.gaps_ps: list[int] = []  # between tokens that other steps came between
        self.preemptions = 0
        self.usage: list[Usage] = []
        self._decisions = 0

    def gap(self, gap_ps: int) -> None:
        """A request waited `gap_ps` for its next token while others ran."""
        self.gaps_ps.append(gap_ps)

    def note_decision(self, core: "Core", batch: Batch) -> None:
        """Count preemptions; look at the memory every few decisions that move it."""
        self.preemptions += len(batch.preempted)
        self._decisions += 1
        if self._decisions % _DECISIONS_A_SAMPLE == 0:
            self.usage.append(core.cache.usage())


class RequestLog:
    """The record of every request that has ended."""

    def __init__(self) -> None:
        self.table = Table(REQUEST_COLUMNS)

    def add(self, request: Request) -> None:
        """Write down a request that has ended."""
        assert request.end is not None
        self.table.append(
            (
                request.id,
                request.user,
                request.attempt,
                request.arrival_ps,
                request.entered_ps,
                request.admitted_ps,
                request.first_token_ps,
                request.end_ps,
                _END_NUMBER[request.end],
                request.prompt_tokens,
                request.output_tokens,
                request.cached_tokens,
                request.preemptions,
                request.own_prefill_ps,
                request.prefill_mark,
                request.decode_mark,
                request.preemption_ps,
            )
        )
