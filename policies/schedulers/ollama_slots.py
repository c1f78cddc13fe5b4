"""llama.cpp's server as Ollama runs it: an over-long prompt is shortened before the server sees it."""

from dataclasses import dataclass

from policies.schedulers import option_checks as check
from policies.schedulers.llama_slots import LlamaSlots
from sim.request import Request

MOST_CONTEXTS_ANSWERED = 10


@dataclass
class OllamaSlots(LlamaSlots):
    """`n_batch` and `n_ubatch` are the same here. An answer ends where its slot is full: no context shift."""

    n_batch: int = 512
    truncate: bool = True
    num_keep: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check.counts(self, "num_keep", least=0)
        check.switches(self, "truncate")

    def output_bound(self, request: Request) -> int:
        """The client's limit, what the slot has room for behind the prompt, and ten contexts at most."""
        lane = self.cache.lane_tokens
        return max(1, min(request.limit, MOST_CONTEXTS_ANSWERED * lane, lane - self._sent_tokens(request)))

    def submit(self, request: Request) -> None:
        """Hand the prompt on, without its middle if it is too long."""
        tokens = self._sent_tokens(request)
        if tokens < request.prompt_tokens:
            request.prompt_tokens = tokens
            request.prefix, request.own = (), None  # it no longer begins like any other prompt
        super().submit(request)

    def _sent_tokens(self, request: Request) -> int:
        """Half of the context is left for the answer when a prompt has to be cut."""
        lane = self.cache.lane_tokens
        if not self.truncate or request.prompt_tokens < lane:
            return request.prompt_tokens
        return lane - max((lane - self.num_keep) // 2, 1)
