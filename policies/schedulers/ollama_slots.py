"""llama.cpp's server as Ollama runs it: a context that is too long loses its older half, or is not served."""

from dataclasses import dataclass

from policies.schedulers import option_checks as check
from policies.schedulers.llama_slots import LlamaSlots
from policies.schedulers.ollama_runner import MOST_CONTEXTS_ANSWERED
from sim.batch import Batch
from sim.request import Request


@dataclass
class OllamaSlots(LlamaSlots):
    """`n_batch` and `n_ubatch` are the same here.

    With `context_shift` an over-long prompt is shortened before the server sees it, unless `truncate` is off, and an
    answer that fills its slot goes on behind a shorter context; without it the one is refused and the other ends.
    """

    n_batch: int = 512
    context_shift: bool = True
    truncate: bool = True
    num_keep: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check.counts(self, "num_keep", least=0)
        check.switches(self, "context_shift", "truncate")

    @property
    def cuts_prompts(self) -> bool:
        """Before the server sees them, where the server shifts contexts."""
        return self.context_shift and self.truncate

    def output_bound(self, request: Request) -> int:
        """The client's limit, and ten contexts at most; without context shift what the slot has room for."""
        if self.context_shift:
            return min(request.limit, MOST_CONTEXTS_ANSWERED * self.cache.lane_tokens)
        return super().output_bound(request)

    def submit(self, request: Request) -> None:
        """Hand the prompt on, without its middle if it is too long."""
        lane = self.cache.lane_tokens
        if self.cuts_prompts and request.prompt_tokens >= lane:
            request.prompt_tokens = lane - max((lane - self.num_keep) // 2, 1)
            request.prefix, request.own = (), None  # it no longer begins like any other prompt
        super().submit(request)

    def schedule(self) -> Batch | None:
        """First of all, slots without room for a token and the one behind it drop half of their context."""
        if self.context_shift and self.generating and self.cache.steps_until_full() <= 1:
            self._shift_full()
        return super().schedule()

    def _shift_full(self) -> None:
        cache, last = self.cache, self.cache.lane_tokens - 1
        dropped = max(1, (last - min(self.num_keep, last - 3)) // 2)
        for slot in self.generating:
            if cache.context(slot) >= last:
                cache.shorten(slot, last - dropped)

    def _decode_step(self) -> Batch:
        """Repeats until a slot is full."""
        batch = super()._decode_step()
        if self.context_shift:
            batch.steady_steps = min(batch.steady_steps, max(1, self.cache.steps_until_full()))
        return batch
