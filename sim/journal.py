"""What happened in a run, in columns: strides instead of tokens, one row a request."""

from collections.abc import Callable
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
    "stall_ps",
    "replica",
)
ENDS = tuple(End)
_END_NUMBER = {end: number for number, end in enumerate(ENDS)}
_DECISIONS_A_SAMPLE = 8
_ROWS_A_PACK = 512  # few enough to be packed while they are in the processor's cache

Columns = dict[str, NDArray[np.int64]]


class Table:
    """Rows of integers, one after the other, packed into arrays now and then."""

    __slots__ = ("_cells", "_cells_a_pack", "_packed", "append", "names")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._packed: list[NDArray[np.int64]] = []
        self._cells: list[int] = []
        self._cells_a_pack = _ROWS_A_PACK * len(names)
        self.append: Callable[[tuple[int, ...]], None] = self._cells.extend

    def pack(self) -> None:
        """Move the rows into an array once there are many: packed they take a tenth of the memory."""
        if len(self._cells) >= self._cells_a_pack:
            self._pack()

    def columns(self) -> Columns:
        """All rows as one array a column."""
        self._pack()
        whole = np.concatenate(self._packed)
        width = len(self.names)
        return {name: whole[number::width].copy() for number, name in enumerate(self.names)}

    def _pack(self) -> None:
        self._packed.append(np.fromiter(self._cells, np.int64, len(self._cells)))
        self._cells.clear()


class Journal:
    """The record of one replica."""

    def __init__(self) -> None:
        self.strides = Table(STRIDE_COLUMNS)
        self.gaps = Table(("end_ps", "gap_ps"))  # between two tokens of a request that sat steps out
        self.preemptions = 0
        self.usage = Table(("time_ps", *Usage._fields))
        self._decisions = 0

    def note_decision(self, now_ps: int, core: "Core", batch: Batch) -> None:
        """Count preemptions; look at the memory every few decisions that move it."""
        self.preemptions += len(batch.preempted)
        self._decisions += 1
        if self._decisions % _DECISIONS_A_SAMPLE == 0:
            self.usage.append((now_ps, *core.cache.usage()))
            self.strides.pack()
            self.gaps.pack()


class RequestLog:
    """The record of every request that has ended."""

    def __init__(self) -> None:
        self._table = Table(REQUEST_COLUMNS)
        self._append = self._table.append
        self._pack = self._table.pack
        self.columns = self._table.columns

    def add(self, request: Request) -> None:
        """Write down a request that has ended."""
        assert request.end is not None
        self._append(
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
                request.stall_ps,
                request.replica,
            )
        )
        self._pack()
