"""Whether the 80% bands hold what they promise, by trust label and source."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import binomtest

from calibration import profile
from calibration.profile import Profile
from sim.compose import PROFILE
from tests.held_out import Missed

WIDTHS = {"measured": 20, "interpolated": 35, "extrapolated": 60}  # per cent either way, at most
CERTAIN = 0.05  # a source whose coverage is this unlikely under 80% is counted as below it


def factors(shipped: Profile, one: Missed) -> tuple[float, float]:
    """The shipped profile's band of a prediction."""
    kernels = one.observation.family.kernels
    return shipped.band(kernels, one.trust, "ttft" if one.observation.of_prompts else "step")


def inside(shipped: Profile, one: Missed) -> bool:
    """Whether the measurement lies in the band around what the fit without it predicted."""
    low, high = factors(shipped, one)
    return low <= float(np.exp(-one.error)) <= high


def bands_table(all_missed: Iterable[Missed]) -> str:
    """Coverage and width by trust label, and the sources that fall short."""
    shipped, labels = profile.load(PROFILE), defaultdict(list)
    for one in all_missed:
        labels[one.trust].append(one)
    lines = ["| trust | predictions | coverage | width: target · reached | sources below 80% |", "|--|--|--|--|--|"]
    for label, width in WIDTHS.items():
        alike = labels[label]
        if not alike:
            continue
        held = np.mean([inside(shipped, one) for one in alike])
        halves = [100 * (high - low) / 2 for low, high in (factors(shipped, one) for one in alike)]
        half = float(np.median(halves))
        reached = f"±{half:.1f}%" if half <= width else f"**±{half:.1f}%**"
        short = below(shipped, alike)
        named = f"{len(short)} of {len({one.observation.point.source_id for one in alike})}"
        worst = f": {', '.join(f'{name} {share:.0%}' for name, share in short)}" if short else ""
        lines.append(f"| {label} | {len(alike):,} | {held:.0%} | ±{width}% · {reached} | {named}{worst} |")
    return "\n".join(lines)


def below(shipped: Profile, alike: Sequence[Missed]) -> list[tuple[str, float]]:
    """Sources whose share inside the bands is less than 80% by more than chance, the lowest first."""
    by_source: dict[str, list[bool]] = defaultdict(list)
    for one in alike:
        by_source[one.observation.point.source_id].append(inside(shipped, one))
    short = [
        (name, sum(held) / len(held))
        for name, held in by_source.items()
        if binomtest(sum(held), len(held), 0.8, "less").pvalue < CERTAIN
    ]
    return sorted(short, key=lambda pair: pair[1])
