"""What hardware costs: the catalogue's prices with their dates, or those that were typed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from calibration import catalog
from reports.plan_document import Hardware
from sim import compose
from sim.errors import UsageError
from sim.variant import Variant
from workloads.units import parse_number

SECONDS_PER_HOUR = 3600
MILLION = 1_000_000
TYPED = "as typed"


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars an hour for cards, by their id in the catalogue."""

    typed: Mapping[str, float]

    def hardware(self, variant: Variant) -> Hardware:
        """The cards of a variant with what one of them costs."""
        card, _, _ = compose.machine(variant)
        if card.id in self.typed:
            return Hardware(card.id, variant.gpus, self.typed[card.id], TYPED)
        return Hardware(card.id, variant.gpus, card.price_usd_h, card.price_date if card.price_usd_h else "")


def parse_prices(texts: Sequence[str], cards: Collection[str]) -> Prices:
    """`l4=0.70`: dollars an hour of one card, which must be among the plan's cards (their ids)."""
    typed = {}
    for text in texts:
        name, equals, amount = text.partition("=")
        if not equals:
            raise UsageError(f"--price '{text}' is not written as GPU=USD_PER_HOUR, as l4=0.70")
        card = catalog.gpu(name).id
        if card not in cards:
            raise UsageError(f"--price {text}: '{name}' is not among the cards of the plan: name it with --gpu too")
        typed[card] = dollars(amount, f"--price {name}")
    return Prices(typed)


def dollars(text: str, what: str) -> float:
    """An amount above nothing."""
    amount = parse_number(text, what)
    if amount <= 0:
        raise UsageError(f"{what} '{text}' is not above zero")
    return amount


def usd_per_million(usd_per_hour: float, output_tps: float) -> float | None:
    """What a million output tokens cost at this rate; None where the run was too short to have one."""
    return usd_per_hour / SECONDS_PER_HOUR / output_tps * MILLION if output_tps else None


def break_even_share(usd_per_million_here: float | None, api_usd_per_million: float | None) -> float | None:
    """The share of the time that a load must last for an API to cost as much as the cards that wait for it."""
    if usd_per_million_here is None or api_usd_per_million is None:
        return None
    return usd_per_million_here / api_usd_per_million
