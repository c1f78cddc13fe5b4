"""How far predictions are from recordings, how far they may be, and what does not count."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.recorded_loops import Prediction
from tests.recordings import Recording

TOLERANCE_PERCENT = {"output_tok_s": 12.0, "ttft_p50_ms": 15.0, "tpot_p50_ms": 15.0, "e2e_p50_ms": 12.0}
MEDIAN_PERCENT = 6.0  # over the levels, for each figure

# Known as noise before anything was predicted: a disturbed level, and medians that hang on who comes first.
LEFT_OUT = {
    *[("np1", 16, figure) for figure in TOLERANCE_PERCENT],
    ("np8_kvu2048", 4, "ttft_p50_ms"),
    ("seqs64_kv2048tok", 16, "tpot_p50_ms"),
}
# Outside the tolerance, and the most that each may be: the same prompts ran that much slower than at other levels.
MISSED_PERCENT = {("np1", 4, "output_tok_s"): 14.0}


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one level."""

    name: str
    users: int
    figure: str
    recorded: float
    predicted: float

    @property
    def key(self) -> tuple[str, int, str]:
        """What LEFT_OUT and MISSED_PERCENT know it by."""
        return self.name, self.users, self.figure

    @property
    def error_percent(self) -> float:
        """How much more was predicted than recorded."""
        return 100.0 * (self.predicted / self.recorded - 1.0)

    @property
    def within(self) -> bool:
        """Whether that is close enough."""
        return abs(self.error_percent) <= TOLERANCE_PERCENT[self.figure]


def cells(predictions: Sequence[Prediction]) -> Iterator[Cell]:
    """Every figure of the levels in which somebody got an answer."""
    for one in predictions:
        recorded, predicted = one.level.figures, one.figures
        if recorded.failures < len(one.level.requests):
            for figure in TOLERANCE_PERCENT:
                yield Cell(one.name, one.level.users, figure, getattr(recorded, figure), getattr(predicted, figure))


def judged(predictions: Sequence[Prediction]) -> list[Cell]:
    """Those that count."""
    return [cell for cell in cells(predictions) if cell.key not in LEFT_OUT]


def median_errors(predictions: Sequence[Prediction]) -> dict[str, float]:
    """The median over the levels of each figure's error, in percent either way."""
    counted = judged(predictions)
    return {
        figure: statistics.median(abs(cell.error_percent) for cell in counted if cell.figure == figure)
        for figure in TOLERANCE_PERCENT
    }


def slowdown(recording: Recording, users: int, against: int) -> float:
    """How much longer prompts sat in a slot than the very same ones did at another level."""
    here, there = (
        {(r.uid, r.k): r.token_times[-1] - r.t_headers for r in recording.level(n).requests if r.t_headers is not None}
        for n in (users, against)
    )
    same = here.keys() & there.keys()
    return sum(here[one] for one in same) / sum(there[one] for one in same)
