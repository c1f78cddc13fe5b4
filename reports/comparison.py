"""What a comparison adds to the results of its variants: differences, and who wins at which loads."""

from dataclasses import dataclass
from typing import Literal

Compared = Literal["capacity_users", "output_tps", "ttft_ms", "tpot_ms", "itl_ms"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of one variant beside the same figure of another, over the seeds that both were run with.

    The figures are means over the seeds: TTFT and ITL of their p99, TPOT of its median. `low` and `high` hold the
    true difference nine times in ten; with a single seed nothing is known of that.
    """

    variant: str
    baseline: str
    metric: Compared
    users: int | None  # None: of the capacity itself
    value: float
    baseline_value: float
    difference: float
    low: float | None
    high: float | None
    certain: bool  # all of the interval lies on one side of zero


@dataclass(frozen=True, slots=True)
class Stretch:
    """Loads at which the same variants are the best of those that keep the SLO; none where nobody keeps it.

    Best is who answers most tokens a second; several where their difference may be chance.
    """

    from_: int
    to: int | None  # None: however many
    best: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was varied, which variant the others are measured against, and what came of it."""

    varied: dict[str, tuple[str, ...]]
    differences: tuple[Difference, ...]
    winners: tuple[Stretch, ...]
