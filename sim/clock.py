"""Time is counted in integer picoseconds, so that n steps added one by one equal the closed form."""

import math

PS_PER_S = 10**12
PS_PER_MS = 10**9
PS_PER_US = 10**6

# What happens first when several things happen at one instant.
# SimPy's own priorities: 0 urgent, 1 normal.
ARRIVAL, STEP_END, DECISION = 0, 1, 2


def ps(seconds: float) -> int:
    """Seconds as the nearest whole picosecond."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"a duration must be finite and not negative, got {seconds}")
    return round(seconds * PS_PER_S)


def seconds(picoseconds: int) -> float:
    """Picoseconds as seconds; subtract as integers first, then convert."""
    return picoseconds / PS_PER_S
