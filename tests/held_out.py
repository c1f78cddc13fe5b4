"""Every committed measurement predicted by fits that lack it, its card, its model, its laboratory or its vendor."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from calibration import catalog, profile, sources
from calibration.fit import fitted_profile, predicted_errors
from calibration.fitting.bands import Miss, misses, predicted
from calibration.fitting.observations import Observation, by_kernels, observe
from sim.compose import PROFILE

FEWEST = 8  # laboratories with fewer rows are left out together
FIRST_VENDOR = "nvidia"  # whose measurements the others' are not predicted without
WAYS = ("row", "model", "gpu", "laboratory", "vendor")
OWN: Mapping[str, Callable[[Observation], str]] = {
    "laboratory": lambda one: sources.sources()[one.point.source_id].laboratory,
    "vendor": lambda one: one.family.vendor,
}


class Missed(NamedTuple):
    """A prediction by a fit that had not seen the measurement, and that of the shipped profile."""

    way: str
    trust: str
    observation: Observation
    error: float  # logarithm of predicted over measured
    in_sample: float
    known_card: bool


@cache
def observations() -> tuple[Observation, ...]:
    """What the shipped profile was fitted to."""
    fitted = [point for point in sources.all_points() if not sources.sources()[point.source_id].held_out]
    return tuple(observe(fitted)[0])


@cache
def in_sample() -> Mapping[int, float]:
    """The shipped profile's error of each observation, by its identity."""
    errors = predicted_errors(profile.load(PROFILE), observations())
    return {id(one): float(error) for one, error in zip(observations(), errors, strict=True)}


@cache
def missed(way: str) -> tuple[Missed, ...]:
    """Predictions of every observation by fits without its own part."""
    return tuple(
        Missed(way, miss.trust, miss.observation, miss.error, in_sample()[id(miss.observation)], miss.known_card)
        for miss in (_without(way) if way in OWN else misses(observations(), way))
    )


def _without(way: str) -> Iterator[Miss]:
    for family in by_kernels(observations()):
        yield from _without_own(family, way)


def _without_own(family: Sequence[Observation], way: str) -> Iterator[Miss]:
    for out in _parts(family, way):
        left = {id(one) for one in out}
        fitted = fitted_profile([one for one in family if id(one) not in left])
        yield from predicted(way, fitted, out)


def _parts(family: Sequence[Observation], way: str) -> list[list[Observation]]:
    """What is left out together."""
    groups: dict[str, list[Observation]] = defaultdict(list)
    for one in family:
        groups[OWN[way](one)].append(one)
    if way == "vendor":
        return [members for vendor, members in groups.items() if vendor != FIRST_VENDOR]
    small = [members for members in groups.values() if len(members) < FEWEST]
    large = [members for members in groups.values() if FEWEST <= len(members) < len(family)]
    return [*large, list(chain.from_iterable(small))] if small else large


def checks() -> tuple[Missed, ...]:
    """What the shipped profile says of measurements that no fit has seen."""
    kept = [name for name, source in sources.sources().items() if source.held_out]
    found = observe(point for name in kept for point in sources.load(name))[0]
    shipped = profile.load(PROFILE)
    return tuple(
        Missed("check", miss.trust, miss.observation, miss.error, float("nan"), miss.known_card)
        for miss in predicted("check", shipped, found)
    )


# -- what a measurement is of


def kind(one: Observation) -> str:
    """Which column it belongs to."""
    if one.of_prompts:
        return "ttft"
    return "throughput" if one.point.load in ("offline", "burst") else "step"


def dense(one: Observation) -> bool:
    return not catalog.model(one.point.model).experts


def model_of(one: Observation) -> str:
    """The catalogue's name for its model."""
    return catalog.model(one.point.model).id


def series(model: str) -> str:
    """A model's name without its size: llama-2-70b is of llama-2."""
    parts = model.split("-")
    sizes = [place for place, part in enumerate(parts) if part[:1].isdigit() and part[-1:] == "b"]
    return "-".join(parts[: sizes[0]]) if sizes else model


def has_sibling(one: Observation) -> bool:
    """Whether its laboratory measured another model of its series on the same card."""
    return len(_models().get(_place(one), set()) - {model_of(one)}) > 0


@cache
def _models() -> Mapping[tuple[str, ...], set[str]]:
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for one in observations():
        found[_place(one)].add(model_of(one))
    return found


def _place(one: Observation) -> tuple[str, ...]:
    return one.family.kernels, one.family.gpu, OWN["laboratory"](one), series(model_of(one))


def has_like_card(one: Observation) -> bool:
    """Whether another card of its vendor and memory class was measured with its kernels."""
    return len(_cards().get(one.family[:3], set()) - {one.family.gpu}) > 0


@cache
def _cards() -> Mapping[tuple[str, ...], set[str]]:
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for one in observations():
        found[one.family[:3]].add(one.family.gpu)
    return found
