"""The work of training a token: the model's, and what the card does for it.

Counted as in PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B): two operations a weight of a matrix forward,
as many for the gradient of its input, and as many again for its own, which frozen weights don't have. "Model" work is
what training takes at least; "hardware" work counts activations that are computed twice. Flash attention's own second
look at its scores is in neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

# Dense bf16 (T4: fp16) of tensor cores, 10^12 operations a second, from NVIDIA's data sheets. By a part of the name
# that torch gives; the first that fits counts.
PEAK_TFLOPS = {
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "GH200": 989.4,
    "B200": 2250.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "V100": 125.0,
    "T4": 65.0,
}


@dataclass(frozen=True)
class Shape:
    """What of a decoder-only model counts: sizes, and numbers of weights."""

    layers: int
    hidden: int
    """Numbers in a token's state."""
    attention: int
    """Heads times their size."""
    key_value: int
    """Key heads times their size."""
    intermediate: int
    vocabulary: int
    tied: bool
    """Whether head and embedding are one matrix."""

    @property
    def layer_weights(self) -> int:
        """Weights of the seven projections of one layer."""
        return self.hidden * (2 * self.attention + 2 * self.key_value + 3 * self.intermediate)

    @property
    def head_weights(self) -> int:
        return self.hidden * self.vocabulary

    @property
    def weights(self) -> int:
        """All matrices; norms are left out."""
        return self.layers * self.layer_weights + self.head_weights * (1 if self.tied else 2)

    def adapter_weights(self, rank: int) -> int:
        """Of LoRA on all seven projections."""
        ends = 2 * (self.hidden + self.attention) + 2 * (self.hidden + self.key_value)
        return self.layers * rank * (ends + 3 * (self.hidden + self.intermediate))

    def trained(self, config: TrainConfig) -> tuple[int, int]:
        """Weights that a run trains: in the layers, and in embedding and head; norms are left out."""
        ends = self.head_weights * (1 if self.tied else 2)
        if config.method == "full":
            return self.layers * self.layer_weights, ends
        return self.adapter_weights(config.lora_r), ends if config.train_embeddings else 0


def shape_of(config: Any) -> Shape:
    """From a transformers configuration of a Llama-like model."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        attention=config.num_attention_heads * size,
        key_value=(getattr(config, "num_key_value_heads", None) or config.num_attention_heads) * size,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        tied=bool(getattr(config, "tie_word_embeddings", False)),
    )


def work(
    shape: Shape,
    rank: int,
    context: float,
    checkpoint_layers: int = 0,
    *,
    layers_too: bool = False,
    head: bool = False,
    held: bool = False,
) -> tuple[float, float]:
    """Operations for a token: the model's, and the hardware's.

    Args:
        rank: of LoRA on all seven projections; 0 for none.
        context: tokens that a token attends to, in the mean: about half of a document's length.
        checkpoint_layers: how many layers are computed again in the backward pass.
        layers_too: the layers' own matrices are trained; head: the head is. (An embedding multiplies nothing.)
        held: the base is computed along (`holding`), forwards, which counts to the hardware's.
    """
    attention = 4 * shape.layers * shape.attention * context
    layers = 2 * shape.layers * shape.layer_weights
    adapter = 2 * shape.adapter_weights(rank)
    model = (2 + layers_too) * layers + (2 + head) * 2 * shape.head_weights + 3 * (adapter + attention)
    again = (layers + adapter + attention) * checkpoint_layers / shape.layers
    base = layers + attention + 2 * shape.head_weights if held else 0
    return float(model), float(model + again + base)


def work_of(
    shape: Shape, config: TrainConfig, context: float, checkpoint_layers: int, held: bool = False
) -> tuple[float, float]:
    """`work` of a run with these settings."""
    full = config.method == "full"
    rank = 0 if full else config.lora_r
    whole_head = full or config.train_embeddings
    return work(shape, rank, context, checkpoint_layers, layers_too=full, head=whole_head, held=held)


def mean_context(lengths: Any) -> float:
    """Tokens that a token of these documents attends to in the mean, itself among them: sum n(n+1)/2 / sum n."""
    total = sum(lengths)
    return sum(n * (n + 1) / 2 for n in lengths) / total if total else 0.0


def peak_flops(card: str) -> float | None:
    """Operations a second that a card's data sheet states; None for one that is not in the table."""
    return next((peak * 1e12 for name, peak in PEAK_TFLOPS.items() if name in card), None)
