"""How vLLM divides a model's layers into groups that take blocks of their own, and how many blocks a request needs.

Layers that see everything and layers with a window are cut into groups of equally many, as many as the rarer kind has;
a group that is not full is padded. Kinds that differ by less than half are not cut but padded to the commoner one. A
model of one kind is one group.

Versions before 0.9.1 keep every token in layers with a window where there are full ones beside them, and every version
does so for attention in chunks (Llama 4), for which it turns the groups off.
"""

from dataclasses import dataclass

from policies.caches.groups import Groups
from policies.engines.vllm_defaults import RELEASES
from sim.hardware import Model

GROUPS_SINCE = "0.9.1"  # release notes
ONE_WINDOW_SINCE = "0.29"  # default of the retention interval, before it every block was remembered
CHUNKED_FAMILIES = ("llama4",)
LITTLE_MORE = 1.5


@dataclass(frozen=True, slots=True)
class Layout:
    """The groups of a model, and what a start-up reckons with for one request."""

    groups: Groups
    layers: float  # that one block holds tokens of, padding included
    block_size: int
    in_flight: int  # tokens that may be under way at a time

    @property
    def slides(self) -> bool:
        """Whether some layers forget."""
        return self.groups.windowed > 0

    def most_kept(self, length: int) -> int:
        """Blocks that a windowed group holds at most of a request of so many tokens."""
        return self.groups.most_kept(self.block_size, self.in_flight, length)

    def needed(self, length: int) -> int:
        """Blocks without which a start-up refuses this max_model_len, the null block included."""
        blocks = -(-length // self.block_size)
        return self.groups.full * blocks + self.groups.windowed * self.most_kept(length) + 1

    def longest(self, blocks: int, limit: int) -> int:
        """The largest max_model_len up to a limit that a start-up takes with so many blocks; 0 for none."""
        low, high = 0, limit
        while low < high:
            length = (low + high + 1) // 2
            low, high = (length, high) if self.needed(length) <= blocks else (low, length - 1)
        return low

    def tokens(self, blocks: int) -> int:
        """Tokens that so many blocks hold for requests which no window has begun to slide for."""
        return (blocks - 1) * self.block_size // self.groups.count


def layout(model: Model, version: str, block_size: int, max_model_len: int, in_flight: int) -> Layout:
    """The layout of a model as a version makes it."""
    groups, layers = Groups(1, 0, 0), float(model.layers)
    if model.keeps_state:
        layers *= model.kv_bytes(max_model_len) / (max_model_len * model.kv_bytes_per_token())
    elif model.window_layers and not keeps_everything(model, version):
        groups, layers = _divided(model.layers - model.window_layers, model.window_layers, model.window)
    return Layout(groups, layers, block_size, in_flight)


def keeps_everything(model: Model, version: str) -> bool:
    """Whether layers with a window keep every token nevertheless."""
    if model.family in CHUNKED_FAMILIES:
        return True
    return model.window_layers < model.layers and RELEASES.number(version) < RELEASES.number(GROUPS_SINCE)


def remembers_all(version: str) -> bool:
    """Whether windowed groups remember every block's content, and not one window of each prompt."""
    return RELEASES.number(version) < RELEASES.number(ONE_WINDOW_SINCE)


def _divided(full: int, windowed: int, window: int) -> tuple[Groups, int]:
    """Groups of equally many layers, and how many those are."""
    fewer, more = sorted(kind for kind in (full, windowed) if kind) if full else (windowed, windowed)
    size = more if more < LITTLE_MORE * fewer else fewer
    return Groups(-(-full // size), -(-windowed // size), window), size
