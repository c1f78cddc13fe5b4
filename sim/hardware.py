"""What a deployment runs on and what it runs: a GPU, the host around it, a model's shape."""

from dataclasses import dataclass, field

GIB = 1024**3
MIB = 1024**2
# Families whose limited layers keep a state instead of tokens: one a request, whatever is in flight.
STATE_FAMILIES = ("qwen35", "qwen3next")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator as its driver reports it and its data sheet rates it (dense rates only)."""

    id: str
    name: str
    vendor: str  # nvidia, amd, intel, apple
    memory_class: str  # hbm, gddr, unified
    memory_bytes: int  # what the driver reports as total, not the marketing figure
    bandwidth_gbs: float  # 10^9 bytes a second
    fp16_tflops: float  # dense, with FP32 accumulation
    architecture: str = ""  # generation of its cores, by the maker's name: ampere, rdna3
    fp8_tflops: float | None = None
    fp4_tflops: float | None = None
    int8_tops: float | None = None
    pcie_gbs: float = 25.0  # host to device, one way
    nvlink_gbs: float = 0.0
    price_usd_h: float | None = None
    price_date: str = ""
    recalled: tuple[str, ...] = ()  # fields whose value no source was read for


@dataclass(frozen=True, slots=True)
class Host:
    """The machine around the GPU: what spilled layers and the scheduler's own code run on."""

    id: str
    name: str
    ram_bytes: int
    ram_gbs: float  # DDR bandwidth, 10^9 bytes a second
    cpu_tflops: float  # dense FP16/FP32 rate that spilled layers get
    single_thread: float = 1.0  # speed of one thread, relative to the host the overheads were taken on
    recalled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A transformer's shape: everything that memory and step time follow from."""

    id: str
    name: str
    family: str  # architecture as the engines call it: llama, qwen2, qwen3, mistral ...
    parameters: int  # all of them
    active_parameters: int  # those one token uses; fewer than `parameters` for MoE
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_context: int
    tied_embeddings: bool = False
    intermediate: int = 0  # width of the feed-forward layer (of one expert, for MoE); 0 when not known
    experts: int = 0  # routed experts of a layer; 0 for a dense model
    experts_per_token: int = 0
    expert_parameters: int = 0  # parameters of all routed experts of all layers together
    window: int = 0  # tokens that a sliding-window layer sees, the current one included
    window_layers: int = 0  # layers that see only those
    latent_kv: int = 0  # MLA: elements that a token keeps in each layer, in place of heads
    vision_parameters: int = 0  # of the part that sees: loaded at 16 bits, not in `parameters`, read for images only
    native_weights: str = ""  # the format it is published in; empty: 16 bits
    gguf_bits: dict[str, float] = field(default_factory=dict)  # bits per weight by format, from file sizes
    recalled: tuple[str, ...] = ()

    def kv_bytes_per_token(self, bytes_per_element: float = 2.0) -> int:
        """Bytes that one token's keys and values take over all layers, those with a window included."""
        return round(self.layers * self._kv_elements * bytes_per_element)

    def kv_bytes(self, context: int, bytes_per_element: float = 2.0) -> int:
        """Bytes that a sequence of so many tokens needs: layers with a window keep no more than it."""
        tokens = (self.layers - self.window_layers) * context + self.window_layers * min(context, self.window)
        return round(tokens * self._kv_elements * bytes_per_element)

    @property
    def keeps_state(self) -> bool:
        """Whether the layers written as windowed keep one state for each request."""
        return self.family.startswith(STATE_FAMILIES)

    @property
    def vision_bytes(self) -> int:
        """What the part that sees takes, which no format narrows."""
        return 2 * self.vision_parameters

    @property
    def _kv_elements(self) -> int:
        """Elements that one layer keeps for one token."""
        return self.latent_kv or 2 * self.kv_heads * self.head_dim
