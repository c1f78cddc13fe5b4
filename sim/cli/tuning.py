"""Engines with static slots once more, with the slots that fit and help."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from sim import compose
from sim.cli.variants import Prepared
from sim.compose import Traffic
from sim.errors import DoesNotFit, NotSupported, UsageError
from sim.judging import Judgement, decided
from sim.metrics import summarise
from sim.simulate import simulate
from sim.slo import Slo
from sim.variant import Demand, Variant

TRIAL_REQUESTS = 200  # measured in each trial run: it only has to rank numbers of slots
MOST_SLOTS = 256  # more sequences than llama.cpp can be built for


@dataclass(frozen=True, slots=True)
class SlotOptions:
    """How an engine with static slots is told their number and their context."""

    slots: str
    context: str
    context_is_total: bool

    def settings(self, slots: int, context: int) -> dict[str, int]:
        """The options for so many slots of so long a context."""
        return {self.slots: slots, self.context: context * slots if self.context_is_total else context}


TUNABLE = {
    "ollama": SlotOptions("num_parallel", "num_ctx", context_is_total=False),
    "llama_cpp": SlotOptions("parallel", "ctx_size", context_is_total=True),
}

Carried = Callable[[Prepared, int], int]


def context_for(tokens: int) -> int:
    """The context that one gives to requests of so many tokens: the next power of two."""
    return 1 << (tokens - 1).bit_length()


def with_tuned(rows: list[Prepared], traffic: Traffic, slo: Slo, seeds: Sequence[int]) -> list[Prepared]:
    """Every row, and behind each whose slots nobody has set the same engine tuned."""
    carried = partial(users_carried, traffic=traffic, slo=slo, seeds=seeds)
    context = context_for(traffic.longest_tokens())
    pairs = ((row, tuned(row.variant, context, carried)) for row in rows)
    return [each for pair in pairs for each in pair if each is not None]


def tuned(variant: Variant, context: int, carried: Carried) -> Prepared | None:
    """The variant with the number of slots, out of 2, 3, 4, 6, 8, 12 ... that carries the most users within the SLO.

    Numbers are tried upwards while every layer stays on the GPU, until one carries less than half of the best; where
    none carries a single user, the largest is taken. Each slot has the context that all but one request in a thousand
    stay within, rounded up to a power of two. None where the engine has no static slots, where options settle their
    number, or where not even two fit.
    """
    names = TUNABLE.get(variant.engine)
    if names is None or names.slots in variant.options:
        return None
    best, most = None, 0
    for slots in _candidates():
        found = _deployed(replace(variant, options={**names.settings(slots, context), **variant.options}), slots)
        users = carried(found, slots) if found else 0
        if found is None or 2 * users < most:
            break
        if users > most or most == 0:
            best, most = found, users
    return best


def _candidates() -> Iterator[int]:
    """2, 3, 4, 6, 8, 12 ... up to the most slots that there can be."""
    for power in count(1):
        for slots in (2**power, 3 * 2 ** (power - 1)):
            if slots > MOST_SLOTS:
                return
            yield slots


def _deployed(variant: Variant, slots: int) -> Prepared | None:
    """The tuned variant, if all of it stays on the GPU."""
    named = replace(variant, id=f"{variant.id}-tuned")
    try:
        deployment = compose.deploy(named)
    except (DoesNotFit, NotSupported, UsageError):
        return None
    fits = deployment.memory.layers_on_host == 0 and deployment.memory.slots == slots
    return Prepared(named, deployment) if fits else None


def users_carried(row: Prepared, slots: int, traffic: Traffic, slo: Slo, seeds: Sequence[int]) -> int:
    """The most users within the SLO, of 1, 2, 4 ... up to one for each slot, as far as each of them is."""
    closed = replace(
        traffic, demand=Demand(requests=min(TRIAL_REQUESTS, traffic.demand.requests or TRIAL_REQUESTS)), trace=None
    )
    carried = 0
    for users in sorted({2**power for power in range(slots.bit_length())} | {slots}):
        if not _surely_carries(row, closed, users, slo, seeds):
            break
        carried = users
    return carried


def _surely_carries(row: Prepared, traffic: Traffic, users: int, slo: Slo, seeds: Sequence[int]) -> bool:
    """Whether the load surely passes; what stays undecided is not carried."""
    assert row.deployment is not None
    variant, deployment = row.variant, row.deployment

    def shares(chosen: Sequence[int]) -> tuple[float, ...]:
        (seed,) = chosen
        return summarise(simulate(compose.scenario(variant, deployment, traffic, users, seed)), slo).batches

    return decided(shares, [(seed,) for seed in seeds]) is Judgement.PASS
