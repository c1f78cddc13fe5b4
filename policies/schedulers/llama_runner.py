"""Ollama's older runner (v0.4 to v0.24): a budget for every slot; no answer is skipped, but all wait for all passes."""

from dataclasses import dataclass

from policies.schedulers import option_checks as check
from policies.schedulers.ollama_runner import OllamaRunner
from policies.schedulers.slot_shares import Share
from sim.request import Request


@dataclass
class LlamaRunner(OllamaRunner):
    """`num_batch` tokens for each slot; what comes together is cut into passes of `n_ubatch` rows."""

    lookahead: bool = False
    n_ubatch: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        check.counts(self, "n_ubatch")

    @property
    def rows_of_a_pass(self) -> int:
        """The most rows that one pass over the weights computes."""
        return self.n_ubatch

    def share_out(self) -> tuple[list[Share], list[Request]]:
        """Something for everybody."""
        return [Share(slot, request, min(wanted, self.num_batch)) for slot, request, wanted in self.round()], []
