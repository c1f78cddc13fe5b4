"""The least that a pass must read and compute and the most that the cards can: bounds, where the physics estimates."""

from dataclasses import dataclass

from sim.hardware import Gpu, Model

GIGA, TERA = 1e9, 1e12
WIDE_BITS = 16.0
# data sheets rate these cards at a clock that they exceed while they are cool
BOOST = {"gddr": 1.2}
SPELT_WITH_A_VOWEL = ("a", "h", "l", "m", "rtx")
GGUF_FIRST_LETTERS = ("q", "iq")


@dataclass(frozen=True, slots=True)
class Limits:
    """What no engine can undercut with this model on these cards; where engines differ, the least stands."""

    gpu: Gpu
    model: Model
    gpu_count: int
    weights: str
    weight_bits: float
    kv_bytes_per_element: float = 2.0

    @property
    def bandwidth(self) -> float:
        """Bytes a second, all cards together."""
        return self.gpu.bandwidth_gbs * GIGA * self.gpu_count

    @property
    def memory_bytes(self) -> float:
        """Of all cards together."""
        return float(self.gpu.memory_bytes * self.gpu_count)

    @property
    def flops(self) -> float:
        """Operations a second, all cards together: the highest dense rate that the weights' format has any use for."""
        rate = self.gpu.fp16_tflops
        if self.weight_bits < WIDE_BITS:
            narrow = (self.gpu.fp8_tflops or 0.0) * (2 if "fp4" in self.weights.lower() else 1)
            rate = max(rate, narrow, self.gpu.int8_tops or 0.0)
        elif self.gpu.memory_class == "gddr":
            rate *= 2  # sums kept in 16 bits, as some matrix libraries do
        return rate * TERA * BOOST.get(self.gpu.memory_class, 1.0) * self.gpu_count

    @property
    def weight_bytes(self) -> float:
        """The whole model, once."""
        return self.model.parameters * self.weight_bits / 8

    @property
    def pass_bytes(self) -> float:
        """Weights that a pass reads at the least: what one token uses, for all rows may use the same experts."""
        return self._read_bytes(0 if self.model.tied_embeddings else 1)

    @property
    def body_bytes(self) -> float:
        """As `pass_bytes`, in a pass whose rows give no token: the output head is not read."""
        return self._read_bytes(1 if self.model.tied_embeddings else 2)

    def _read_bytes(self, tables_left: int) -> float:
        """What one token uses, less so many tables of the vocabulary's size."""
        gguf = self.weights.lower().startswith(GGUF_FIRST_LETTERS)
        width = self.weight_bits if gguf else max(WIDE_BITS, self.weight_bits)
        left = tables_left * self._embedding * width
        return max(0.0, self.model.active_parameters * self.weight_bits - left) / 8

    @property
    def token_flops(self) -> float:
        """Of a token that is decoded, without its attention."""
        looked_up = 0 if self.model.tied_embeddings else self._embedding
        return 2.0 * (self.model.active_parameters - looked_up)

    @property
    def body_flops(self) -> float:
        """Of a token that gives no other."""
        return max(0.0, self.token_flops - 2.0 * self._embedding)

    def prompt_flops(self, tokens: float) -> float:
        """Of a prompt: only its last token goes through the output head; layers with a window attend for nothing."""
        attention = 2.0 * self._full_layers * self.model.heads * self.model.head_dim * tokens**2
        return self.body_flops * tokens + attention

    def kv_bytes(self, tokens: float) -> float:
        """Keys and values of so many tokens, in the layers that see all of them."""
        share = self._full_layers / self.model.layers
        return self.model.kv_bytes_per_token(self.kv_bytes_per_element) * share * tokens

    @property
    def setting(self) -> str:
        """The model and the cards as a sentence names them."""
        if self.gpu_count > 1:
            return f"{self.model.id} on {self.gpu_count} x {self.gpu.id}"
        return f"{self.model.id} on {'an' if self.gpu.id.startswith(SPELT_WITH_A_VOWEL) else 'a'} {self.gpu.id}"

    @property
    def owner(self) -> str:
        """Who has the bandwidth and the rates."""
        return "the card has" if self.gpu_count == 1 else "the cards have"

    @property
    def _embedding(self) -> int:
        return self.model.vocab * self.model.hidden

    @property
    def _full_layers(self) -> int:
        return self.model.layers - self.model.window_layers
