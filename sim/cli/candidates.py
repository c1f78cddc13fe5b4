"""What a plan chooses from: every card, engine and weight format, started on as few cards as hold the model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sim import compose
from sim.cli.tuning import TUNABLE, context_for, tuned, users_carried
from sim.cli.variants import Prepared
from sim.compose import Traffic
from sim.errors import DoesNotFit, NotSupported, SimctlError
from sim.runner import in_parallel
from sim.slo import Slo
from sim.variant import Variant

# Cards that are easy to rent, each with a price in the catalogue.
COMMON_CARDS = ("rtx-3090", "rtx-4090", "rtx-5090", "l4", "l40s", "a100-80g-sxm", "h100-80g-sxm", "h200")
CARDS_IN_A_MACHINE = (1, 2, 4, 8)
CONTEXT_OPTION = {"vllm": "max_model_len"}  # of engines that reserve for the longest request there can be


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the tuned rows are tuned for."""

    traffic: Traffic
    slo: Slo
    seed: int

    @property
    def context(self) -> int:
        """What all but one request in a thousand stay within, as a power of two."""
        return context_for(self.traffic.longest_tokens())


def candidates(variants: Sequence[Variant], gpus: Sequence[int], tuning: Tuning, processes: int) -> list[Prepared]:
    """Every variant on the fewest cards that hold it, and those with slots tuned as well."""
    started = [started_on_fewest(variant, gpus, tuning.context) for variant in variants]
    slotted = [row for row in started if row.deployment is not None and row.variant.engine in TUNABLE]
    with_more = dict(zip((row.variant.id for row in slotted), _all_tuned(slotted, tuning, processes), strict=True))
    pairs = ((row, with_more.get(row.variant.id)) for row in started)
    return [each for pair in pairs for each in pair if each is not None]


def started_on_fewest(variant: Variant, gpus: Sequence[int], context: int) -> Prepared:
    """The variant on the fewest cards that hold it; spread to the host only where no number does."""
    spilled: Prepared | None = None
    error: SimctlError | None = None
    for attempt in _attempts(variant, gpus, context):
        try:
            deployment = compose.deploy(attempt)
        except DoesNotFit as lack:
            error = lack
        except NotSupported as refused:
            error = error or refused
        else:
            if not deployment.memory.layers_on_host:
                return Prepared(attempt, deployment)
            spilled = Prepared(attempt, deployment)
    return spilled or Prepared(replace(variant, gpus=gpus[-1]), None, error)


def _attempts(variant: Variant, gpus: Sequence[int], context: int) -> Iterator[Variant]:
    """As installed, then with the context that the requests need, on more and more cards."""
    option = CONTEXT_OPTION.get(variant.engine)
    for count in gpus:
        yield replace(variant, gpus=count)
        if option and option not in variant.options:
            yield replace(variant, gpus=count, options={**variant.options, option: context})


def _all_tuned(rows: Sequence[Prepared], tuning: Tuning, processes: int) -> list[Prepared | None]:
    """The tuned twin of every row, several at a time."""
    choose = partial(_tuned, tuning=tuning)
    if processes == 1 or len(rows) < 2:
        return [choose(row.variant) for row in rows]
    return list(in_parallel(choose, [row.variant for row in rows], processes))


def _tuned(variant: Variant, tuning: Tuning) -> Prepared | None:
    carried = partial(users_carried, traffic=tuning.traffic, slo=tuning.slo, seeds=[tuning.seed])
    return tuned(variant, tuning.context, carried)
