"""How many users are carried: the bracket between the last load that keeps the SLO and the first that breaks it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sim.judging import TARGET, Judgement

WIDTH_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class Bracket:
    """`passing`: the largest load that passes with all tested below it, or 0. `failing`: the smallest that fails."""

    passing: int
    failing: int | None

    @property
    def narrow(self) -> bool:
        """Whether capacity is known to 8%, or to one user."""
        return self.failing is None or self.failing - self.passing <= max(1, WIDTH_SHARE * self.passing)


def bracket(verdicts: Mapping[int, bool]) -> Bracket:
    """The bracket that the verdicts at the tested loads amount to."""
    failing = min((users for users, passes in verdicts.items() if not passes), default=None)
    passing = max((users for users in verdicts if failing is None or users < failing), default=0)
    return Bracket(passing, failing)


def next_users(found: Bracket) -> int | None:
    """The load to try next; None when the bracket is narrow enough."""
    if found.failing is None or found.narrow:
        return None
    return roundest_between(found.passing, found.failing)


def roundest_between(low: int, high: int) -> int:
    """The number between, ends excluded, that the highest power of two divides.

    Bisection so visits the same loads whatever range the sweep began with, and a longer one cannot move the bracket.
    """
    step = 1 << (high - low - 1).bit_length()
    while True:
        candidate = (low // step + 1) * step
        if candidate < high:
            return candidate
        step >>= 1


def judged_bracket(judgements: Mapping[int, Judgement]) -> Bracket:
    """From the last load that surely passes to the first that surely fails; those undecided lie between."""
    lower, upper = _ends(judgements)
    return Bracket(lower.passing, upper.failing)


def next_loads(judgements: Mapping[int, Judgement]) -> list[int]:
    """The loads to try next: one below the undecided ones and one above them, or one between pass and fail."""
    return sorted({users for end in _ends(judgements) if (users := next_users(end)) is not None})


def _ends(judgements: Mapping[int, Judgement]) -> tuple[Bracket, Bracket]:
    """What does not surely pass counts as a failure at the lower end, what does not surely fail passes at the upper."""
    lower = {users: judgement is Judgement.PASS for users, judgement in judgements.items()}
    upper = {users: judgement is not Judgement.FAIL for users, judgement in judgements.items()}
    return bracket(lower), bracket(upper)


def search(carries: Callable[[int], bool], known: Bracket, most: int) -> Bracket:
    """The bracket of something like what is known: from its ends outwards by doubling and halving, then inwards.

    Nothing above `most` is tried; what still passes there has no upper end.
    """
    verdicts: dict[int, bool] = {}
    users = min(known.failing or known.passing, most)
    verdicts[users] = carries(users)
    while verdicts[users] and users < most:
        users = min(1 << users.bit_length(), most)
        verdicts[users] = carries(users)
    users = known.passing if known.failing else known.passing // 2
    while users and not any(verdicts.values()):
        verdicts[users] = carries(users)
        users //= 2
    while (following := next_users(bracket(verdicts))) is not None:
        verdicts[following] = carries(following)
    return bracket(verdicts)


def passes(attainments: list[float | None], target: float = TARGET) -> bool:
    """Whether the mean share of requests within the SLO, over the seeds, reaches the target; no answer is a failure."""
    shares = [share if share is not None else 0.0 for share in attainments]
    return sum(shares) >= target * len(shares)
