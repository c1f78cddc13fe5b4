"""Guesses of a request's output length: beside the kernel the only place that reads the truth.

A policy that asks for one is clairvoyant, however large the stated error, and reports say so.
"""

from hashlib import blake2b
from math import exp
from statistics import NormalDist

from sim.request import Request

_STANDARD_NORMAL = NormalDist()


def predicted_output(request: Request, noise: float = 0.0, seed: int = 0) -> int:
    """The true output length times a lognormal error of median 1 and spread `noise`.

    The error follows from the seed and the request's number alone, so that asking in another order, twice or never
    changes no other guess and no other random stream.
    """
    if noise == 0:
        return request.output_tokens
    return max(1, round(request.output_tokens * exp(noise * _error(request.id, seed))))


def _error(number: int, seed: int) -> float:
    """A standard normal draw that belongs to (seed, number)."""
    digest = blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return _STANDARD_NORMAL.inv_cdf((int.from_bytes(digest) + 0.5) / 2**64)
