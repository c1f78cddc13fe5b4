"""Step times out of a measured table, in whole picoseconds."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from calibration.tables.steptable import StepTable, interpolate
from sim.batch import Batch, prefill_cells
from sim.clock import PS_PER_MS
from sim.cost import FOREVER, Stride


class Segment(NamedTuple):
    """A straight piece of a line: `time_ps` at `start`, so much more for each token, up to `end`."""

    start: int
    time_ps: int
    slope_ps: int
    end: int
    measured: bool


class Line:
    """The time of a pass of decodes over the tokens that its batch holds in all.

    Each segment begins where the last one ends, in integers, so a stride that stops there equals its single steps.
    Outside the knots the edge segments go on: downwards not below nothing, upwards not falling.
    """

    __slots__ = ("_ends", "_segments")

    def __init__(self, knots: Sequence[int], times_ms: Sequence[float], measured: bool) -> None:
        time = round(times_ms[0] * PS_PER_MS)
        self._segments: list[Segment] = []
        for (left, right), after in zip(pairwise(knots), times_ms[1:], strict=True):
            slope = round((after * PS_PER_MS - time) / (right - left))
            self._segments.append(Segment(left, time, slope, right, measured))
            time += slope * (right - left)
        if self._segments:
            self._extend(time)
        else:  # the only context measured stands for all
            self._segments = [Segment(0, time, 0, FOREVER, measured)]
        self._ends = [segment.end for segment in self._segments]

    def _extend(self, last_ps: int) -> None:
        first, last = self._segments[0], self._segments[-1]
        below = min(first.slope_ps, (first.time_ps - 1) // first.start)
        self._segments.insert(0, Segment(first.start, first.time_ps, below, first.start - 1, measured=False))
        self._segments.append(Segment(last.end, last_ps, max(0, last.slope_ps), FOREVER, measured=False))

    def at(self, tokens: int) -> Segment:
        """The segment that a total of so many tokens lies on."""
        return self._segments[bisect_left(self._ends, tokens)]

    def above_empty(self, tokens: int) -> int:
        """How much longer the pass takes than with nothing in the cache: its attention."""
        segment, empty = self.at(tokens), self.at(0)
        at_none = empty.time_ps - empty.slope_ps * empty.start
        return max(0, segment.time_ps + segment.slope_ps * (tokens - segment.start) - at_none)


class TableCost:
    """Prices steps by a table; copies to and from the host, which no table holds, are free.

    `trust` turns to extrapolated with the first step outside what was measured.
    """

    def __init__(self, table: StepTable) -> None:
        self.trust = "measured"
        self._table = table
        self._overhead_ps = _ps(table.step_overhead_ms)
        self._masked_ps = _ps(table.masked_ms_per_cell)
        self._lines: dict[tuple[int, int], Line] = {}

    def stride(self, batch: Batch) -> Stride:
        """The durations of the batch and of its repetitions."""
        if batch.prompt_tokens:
            return self._with_prompts(batch)
        first, growth, steps = self._decodes(batch)
        if growth < 0:  # a stride's durations never fall; a table's may
            return Stride(first + self._overhead_ps, 0, 1)
        return Stride(first + self._overhead_ps, growth, steps)

    def _decodes(self, batch: Batch) -> tuple[int, int, int]:
        """Passes of decodes alone: their time, its growth, and the steps until a knot of the table."""
        holders = batch.decodes - batch.wasted or batch.decodes
        held = batch.context + holders  # each adds its token before it reads
        first, growth, steps, masked, masked_growth = 0, 0, FOREVER, -held, -holders
        for one in batch.passes:
            masked += one.cells
            masked_growth += one.growth
            if one.prefill_tokens:
                continue
            start, time_ps, slope_ps, end, measured = self._line(one.decodes, holders).at(held)
            first += time_ps + slope_ps * (held - start)
            growth += slope_ps * holders
            steps = min(steps, (end - held) // holders + 1)
            if not measured:
                self.trust = "extrapolated"
        if self._masked_ps and not batch.prompt_tokens:
            first += self._masked_ps * masked
            growth += self._masked_ps * masked_growth
        return first, growth, steps

    def _line(self, rows: int, holders: int) -> Line:
        """A pass of `rows` decodes over the tokens that `holders` sequences hold together."""
        line = self._lines.get((rows, holders))
        if line is None:
            table = self._table
            times = [self._time_ms(rows, index) for index in range(len(table.decode_contexts))]
            knots = [context * holders for context in table.decode_contexts]
            measured = table.decode_batches[0] <= rows <= table.decode_batches[-1]
            line = self._lines[rows, holders] = Line(knots, times, measured)
        return line

    def _time_ms(self, rows: int, index: int) -> float:
        """Time at one context, skipped cells apart; past the table's batches it does not fall below the edge's."""
        table, batches = self._table, self._table.decode_batches
        context = table.decode_contexts[index]
        times = [
            line[index] - table.masked_ms_per_cell * batch * (batch - 1) * context
            for batch, line in zip(batches, table.decode_ms, strict=True)
        ]
        time = interpolate(batches, times, rows)
        if rows < batches[0]:
            return max(time, times[0] * rows / batches[0])
        return max(time, times[-1]) if rows > batches[-1] else time

    def _with_prompts(self, batch: Batch) -> Stride:
        """Passes that carry prompts, each by its tokens, and the step's attention; rounded once."""
        table = self._table
        joint = table.mixed == "joint"
        holders = batch.decodes - batch.wasted or batch.decodes
        prompt_ms, decode = self._attention_ms(batch), self._overhead_ps
        for one in batch.passes:
            if one.prefill_tokens and joint:
                prompt_ms += self._tokens_ms(one.prefill_tokens)
                decode += _ps(table.per_decode_row_in_mixed_ms * one.decodes)
            elif one.prefill_tokens:
                # with nothing in the cache a decode is a row like any other
                prompt_ms += self._tokens_ms(one.prefill_tokens + one.decodes)
                if one.decodes:
                    decode += self._line(one.decodes, holders).above_empty(batch.context + holders)
        if batch.decodes:
            decode += self._decodes(batch)[0]
        prompt = _ps(prompt_ms)
        return Stride(decode + prompt, 0, 1, prompt if batch.decodes else decode + prompt)

    def _tokens_ms(self, tokens: int) -> float:
        known = self._table.prefill_tokens
        if not known[0] <= tokens <= known[-1]:
            self.trust = "extrapolated"
        return max(0.0, interpolate(known, self._table.prefill_ms, tokens))

    def _attention_ms(self, batch: Batch) -> float:
        """Cells that prompt rows attend to, and those of others that they skip over."""
        table = self._table
        own = sum([prefill_cells(piece.tokens, piece.context) for piece in batch.pieces])
        scanned = sum([one.prefill_cells for one in batch.passes])
        return table.prefill_ms_per_cell * own + table.masked_ms_per_cell * max(0, scanned - own)


def _ps(milliseconds: float) -> int:
    return round(milliseconds * PS_PER_MS)
