"""What happened in a run, in columns: strides instead of tokens, one row a request."""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim.cache import Usage
from sim.request import End, Request

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
_ROWS_A_PACK = 512  # few enough to be packed while they are in the processor's cache

Columns = dict[str, NDArray[np.int64]]


class Table:
    """Rows of integers, one after the other, packed into arrays now and then."""

    __slots__ = ("_packed", "append", "cells", "full_at", "names")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._packed: list[NDArray[np.int64]] = []
        self.cells: list[int] = []  # not packed yet
        self.full_at = _ROWS_A_PACK * len(names)
        self.append: Callable[[tuple[int, ...]], None] = self.cells.extend

    def pack(self) -> None:
        """Move the rows into an array once there are many: packed they take a tenth of the memory."""
        if len(self.cells) >= self.full_at:
            self._pack()

    def columns(self) -> Columns:
        """All rows as one array a column."""
        self._pack()
        whole = np.concatenate(self._packed)
        width = len(self.names)
        return {name: whole[number::width].copy() for number, name in enumerate(self.names)}

    def _pack(self) -> None:
        packed = struct.pack(f"{len(self.cells)}q", *self.cells)  # twice as fast as NumPy reads a list
        self._packed.append(np.frombuffer(packed, np.int64))
        self.cells.clear()


class Journal:
    """The record of one replica."""

    def __init__(self) -> None:
        self.strides = Table(STRIDE_COLUMNS)
        self.gaps = Table(("end_ps", "gap_ps"))  # between two tokens of a request that sat steps out
        self.preemptions = 0
        self.usage = Table(("time_ps", *Usage._fields))

    def sample(self, now_ps: int, usage: Usage) -> None:
        """Write down how full the memory is."""
        self.usage.append((now_ps, *usage))
        self.strides.pack()
        self.gaps.pack()


class RequestLog:
    """The record of every request that has ended."""

    def __init__(self) -> None:
        self._table = Table(REQUEST_COLUMNS)
        self.columns = self._table.columns

    def add(self, request: Request) -> None:
        """Write down a request that has ended."""
        assert request.end is not None
        table = self._table
        table.cells.extend(
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
        if len(table.cells) >= table.full_at:
            table.pack()
