"""A load whose prompts begin with what the server still holds of requests before them."""

from dataclasses import dataclass, replace

from sim.request import Request
from sim.workload import Port, Source
from workloads.wrapped import Wrapped


@dataclass(frozen=True, slots=True)
class Kept(Wrapped):
    """The same load behind `tokens` that all its prompts begin with.

    Requests that count for nothing bring them in before it starts: `holders` side by side, one for each place that
    keeps its own.
    """

    tokens: int
    holders: int

    @property
    def requests(self) -> int:
        """How many in all."""
        return self.holders + self.workload.requests

    @property
    def warmup(self) -> int:
        """Those that bring the tokens in, and what the load itself leaves out."""
        return self.holders + self.workload.warmup

    def source(self, port: Port) -> "Behind":
        """The load's own source, once the server holds the tokens."""
        return Behind(self, port)


class Behind:
    """The running load: first the holders, and when the last of them is answered the load itself."""

    def __init__(self, load: Kept, port: Port) -> None:
        self._load, self._port = load, port
        self._bringing = load.holders
        self._source: Source = load.workload.source(replace(port, send=self._send_behind))

    def start(self) -> None:
        """Send the holders."""
        load, now_ps = self._load, self._port.env.now
        for number in range(load.holders):
            self._port.send(Request(number, load.tokens + 1, 1, None, now_ps, prefix=self._prefix))

    def ended(self, request: Request) -> None:
        """A holder is done, or one of the load's own requests."""
        if request.id >= self._load.holders:
            self._source.ended(request)
            return
        self._bringing -= 1
        if not self._bringing:
            self._source.start()

    @property
    def _prefix(self) -> tuple[tuple[str, int], ...]:
        return (("kept", self._load.tokens),)

    def _send_behind(self, request: Request) -> None:
        request.id += self._load.holders
        request.prompt_tokens += self._load.tokens
        request.prefix = self._prefix
        self._port.send(request)
