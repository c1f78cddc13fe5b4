"""Bursts of one and the same prompt, each sent when the last one is answered."""

from dataclasses import dataclass

from sim.request import Request
from sim.workload import Port


@dataclass(frozen=True, slots=True)
class SameAgain:
    """Bursts of one and the same prompt, each sent when the last one is answered, on a server that stays up."""

    sizes: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    warmup: int = 0
    cooldown: int = 0

    @property
    def requests(self) -> int:
        """All bursts together."""
        return sum(self.sizes)

    def source(self, port: Port) -> "Repetition":
        """The first burst waits to be sent."""
        return Repetition(self, port)


class Repetition:
    """Running bursts."""

    def __init__(self, load: SameAgain, port: Port) -> None:
        self._load, self._port = load, port
        self._sizes = list(load.sizes)
        self._sent = self._open = 0

    def start(self) -> None:
        """Send a whole burst."""
        load, size = self._load, self._sizes.pop(0)
        self._open = size
        for _ in range(size):
            prompt = (("prompt", load.prompt_tokens),)
            number, now_ps = self._sent, self._port.env.now
            self._sent += 1
            self._port.send(Request(number, load.prompt_tokens, load.output_tokens, None, now_ps, prefix=prompt))

    def ended(self, request: Request) -> None:
        """The last answer of a burst lets the next one go."""
        self._open -= 1
        if not self._open and self._sizes:
            self.start()
