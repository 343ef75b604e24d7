"""The loss straight from hidden states, some thousand tokens at a time, so that the logits never lie there whole.

The gradient of the hidden states is computed along with the loss, as Liger's fused linear cross-entropy does (Hsu et
al. 2024, arXiv:2410.10989); the head is frozen, so that it needs none. 8,192 tokens of a vocabulary of 32,000 are 1 GiB
of logits in fp32, of 150,000 five.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ftlib.chunking import IGNORE

CHUNK_BYTES = 2**28  # of logits in fp32


def chunk_tokens(vocabulary: int) -> int:
    """How many tokens' logits are in work at a time: a power of two, which divides the usual lengths, compiled once."""
    return 2 ** max(6, (CHUNK_BYTES // (4 * vocabulary)).bit_length() - 1)


def _chunk(hidden: Any, head: Any, labels: Any, weight: Any) -> tuple[Any, Any]:
    """Sum of the negative log-likelihoods, and the gradient of the hidden states times `weight`."""
    import torch

    logits = (hidden @ head.t()).float()
    normaliser = logits.logsumexp(-1)
    counted = labels != IGNORE
    wanted = torch.where(counted, labels, 0)
    losses = torch.where(counted, normaliser - logits.gather(-1, wanted[:, None])[:, 0], 0.0)
    # By comparison, which is fused with its surroundings; a scatter_add has the slope written and read in fp32.
    hit = torch.arange(head.shape[0], device=logits.device)[None] == wanted[:, None]
    slope = torch.exp(logits - normaliser[:, None]) - hit.to(logits.dtype)
    slope = torch.where(counted[:, None], slope * weight, 0.0).to(hidden.dtype)
    return losses.sum(), slope @ head


@cache
def _compiled() -> Any:
    import torch

    return torch.compile(_chunk, dynamic=False)


@cache
def _function() -> Any:
    import torch

    class LinearCrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, hidden: Any, head: Any, labels: Any, weight: Any) -> Any:
            chunk = _compiled() if hidden.is_cuda else _chunk
            size = chunk_tokens(head.shape[0])
            gradient = torch.empty_like(hidden)
            total = hidden.new_zeros((), dtype=torch.float32)
            for at in range(0, hidden.shape[0], size):
                losses, gradient[at : at + size] = chunk(hidden[at : at + size], head, labels[at : at + size], weight)
                total = total + losses
            ctx.save_for_backward(gradient)
            return total * weight

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return ctx.saved_tensors[0] * grads[0], None, None, None

    return LinearCrossEntropy


def linear_cross_entropy(hidden: Any, head: Any, labels: Any, weight: Any) -> Any:
    """weight * sum of the negative log-likelihoods of `labels`, differentiable in `hidden` alone.

    Args:
        hidden: (tokens, size); head: (vocabulary, size), frozen; labels: (tokens,), the *next* token's id or -100;
        weight: a scalar tensor in fp32, usually 1 / number of labels of the whole step.
    """
    return _function().apply(hidden, head, labels, weight)
