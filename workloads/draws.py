"""Random times, drawn by the block and handed out one by one."""

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

BLOCK_DRAWS = 1024


def whole_ps(draw: Callable[[int], NDArray[np.float64]]) -> Iterator[int]:
    """Times drawn in blocks and each rounded once, as Python ints because int64 sums overflow."""

    def blocks() -> Iterator[Iterator[int]]:
        while True:
            yield map(int, np.rint(draw(BLOCK_DRAWS)).tolist())

    return chain.from_iterable(blocks())
