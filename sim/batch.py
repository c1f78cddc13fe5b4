"""What one scheduler decision asks the GPU to do: sums for the decoding requests, pieces for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

from sim.request import Request


@dataclass(slots=True)  # a value, as a pass is, but frozen they would take three times as long to make
class Piece:
    """The tokens one request gets in one step when it is not simply decoding with the others."""

    request: Request
    tokens: int
    context: int  # tokens already computed before this step
    ends: bool  # reaches the last known token, so that a token is sampled
    kind: str = "running"  # new, resumed or running


@dataclass(slots=True)
class Pass:
    """One forward pass over the weights."""

    decodes: int  # rows of requests that add one token each
    cells: int  # KV cells those rows read
    growth: int  # cells more that they read in each step that follows
    prefill_tokens: int = 0
    prefill_cells: int = 0  # sum over prompt rows of the KV cells they attend to
    outputs: int = 0  # rows through the language-model head and the sampler
    padded: int = 0  # rows computed, padding included


class Batch:
    """One step. It may repeat unchanged `steady_steps` times if nobody arrives meanwhile."""

    __slots__ = (
        "context",
        "decodes",
        "failed",
        "host_bytes",
        "passes",
        "paused",
        "pieces",
        "preempted",
        "prompt_tokens",
        "rejected",
        "steady_steps",
        "wasted",
    )

    def __init__(
        self,
        decodes: int,
        passes: tuple[Pass, ...],
        pieces: Sequence[Piece] = (),
        steady_steps: int = 1,
        context: int = 0,
        prompt_tokens: int | None = None,
    ) -> None:
        self.decodes = decodes  # members of the decode group that take part: all of them or none
        self.passes = passes
        self.pieces = pieces
        self.steady_steps = steady_steps
        self.context = context  # tokens of the decode group in the cache before the step
        if prompt_tokens is None:
            prompt_tokens = sum([one.prefill_tokens for one in passes])
        self.prompt_tokens = prompt_tokens  # computed in all passes
        self.preempted: Sequence[Request] = ()
        self.paused: Sequence[Request] = ()  # decode, but get no token in this step
        self.failed: Sequence[Request] = ()  # die of this decision
        self.rejected: Sequence[Request] = ()
        self.host_bytes = 0  # copied over PCIe before the passes run
        self.wasted = 0  # rows computed for nobody

    @property
    def tokens(self) -> int:
        """Tokens computed in the step, padding excluded."""
        return self.decodes + sum(piece.tokens for piece in self.pieces)


def prefill_cells(tokens: int, context: int) -> int:
    """KV cells that `tokens` prompt rows attend to when `context` tokens come before them."""
    return tokens * context + tokens * (tokens + 1) // 2
