"""The loss straight from hidden states, some thousand tokens at a time, so that the logits never lie there whole.

The gradients of the hidden states, and of the head where it is trained, are computed along with the loss, as Liger's
fused linear cross-entropy does (Hsu et al. 2024, arXiv:2410.10989). 8,192 tokens of a vocabulary of 32,000 are 1 GiB of
logits in fp32, of 150,000 five.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ftlib.chunking import IGNORE

CHUNK_BYTES = 2**28  # of logits in fp32


@dataclass(frozen=True)
class Hold:
    """What the base says, for tokens that are held to it."""

    hidden: Any
    """(tokens, size): the base's hidden states, without gradients."""
    head: Any
    """(vocabulary, size): the base's own."""
    held: Any
    """(tokens,) bool: which of the tokens."""
    strength: float
    """Of their loss beside that of the others."""


def chunk_tokens(vocabulary: int) -> int:
    """How many tokens' logits are in work at a time: a power of two, which divides the usual lengths, compiled once."""
    return 2 ** max(6, (CHUNK_BYTES // (4 * vocabulary)).bit_length() - 1)


def _chunk(hidden: Any, head: Any, labels: Any, weight: Any, trained: bool) -> tuple[Any, Any, Any]:
    """Sum of the negative log-likelihoods; times `weight` the gradients of hidden states and, if `trained`, of head."""
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
    return losses.sum(), slope @ head, slope.t() @ hidden if trained else None


def _held_chunk(
    hidden: Any,
    head: Any,
    labels: Any,
    weight: Any,
    trained: bool,
    of_base: Any,
    base_head: Any,
    held: Any,
    strength: Any,
) -> tuple[Any, Any, Any]:
    """`_chunk`, and where a token is `held`, `strength` times KL(base || tuned) in place of its likelihood."""
    import torch

    logits, wanted = (hidden @ head.t()).float(), (of_base @ base_head.t()).float()
    normaliser = logits.logsumexp(-1)
    base = torch.exp(wanted - wanted.logsumexp(-1)[:, None])
    distance = (base * (wanted - logits)).sum(-1) - wanted.logsumexp(-1) + normaliser
    counted = labels != IGNORE
    label = torch.where(counted, labels, 0)
    likelihood = normaliser - logits.gather(-1, label[:, None])[:, 0]
    losses = torch.where(counted, torch.where(held, strength * distance, likelihood), 0.0)
    hit = (torch.arange(head.shape[0], device=logits.device)[None] == label[:, None]).to(logits.dtype)
    target = torch.where(held[:, None], base, hit)
    scale = torch.where(counted, torch.where(held, strength * weight, weight), 0.0)
    slope = ((torch.exp(logits - normaliser[:, None]) - target) * scale[:, None]).to(hidden.dtype)
    return losses.sum(), slope @ head, slope.t() @ hidden if trained else None


@cache
def _compiled(chunk: Any) -> Any:
    import torch

    return torch.compile(chunk, dynamic=False)


@cache
def _function() -> Any:
    import torch

    class LinearCrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, hidden: Any, head: Any, labels: Any, weight: Any, learning: bool, hold: Hold | None
        ) -> Any:
            chunk = _chunk if hold is None else _held_chunk
            chunk = _compiled(chunk) if hidden.is_cuda else chunk
            size = chunk_tokens(head.shape[0])
            gradient = torch.empty_like(hidden)
            trained = ctx.needs_input_grad[1] and learning
            head_gradient = torch.zeros_like(head, dtype=torch.float32) if trained else None
            narrow = head.to(hidden.dtype)
            total = hidden.new_zeros((), dtype=torch.float32)
            for at in range(0, hidden.shape[0], size):
                part = slice(at, at + size)
                base = () if hold is None else (hold.hidden[part], hold.head, hold.held[part], hold.strength)
                losses, gradient[part], of_head = chunk(hidden[part], narrow, labels[part], weight, trained, *base)
                total = total + losses
                if trained:
                    head_gradient += of_head
            ctx.save_for_backward(gradient, head_gradient)
            return total * weight

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            of_hidden, of_head = (None if one is None else one * grads[0] for one in ctx.saved_tensors)
            return of_hidden, of_head, None, None, None, None

    return LinearCrossEntropy


def linear_cross_entropy(hidden: Any, head: Any, labels: Any, weight: Any, hold: Hold | None = None) -> Any:
    """weight * sum of the negative log-likelihoods of `labels`, differentiable in `hidden` and `head`.

    The products are in the width of `hidden`; the head's gradient is summed over the chunks in fp32.

    Args:
        hidden: (tokens, size); head: (vocabulary, size), frozen or trained; labels: (tokens,), the *next* token's id or
        -100; weight: a scalar tensor in fp32, usually 1 / number of labels of the whole step.
        hold: tokens whose loss is the distance to the base, and what that says.
    """
    import torch

    return _function().apply(hidden, head, labels, weight, torch.is_grad_enabled(), hold)


def from_forward(trainer: Any) -> None:
    """Have a trainer take its loss from the model's forward, which gets `items`, the number of labels of the step.

    DDP sees no other call than the forward's.
    """

    def compute_loss(model: Any, inputs: dict[str, Any], *args: Any, **more: Any) -> Any:
        items = more.get("num_items_in_batch")
        if items is None:
            items = (inputs["labels"][:, 1:] != IGNORE).sum()
        # A batch of padding alone must give 0 and not 0 / 0.
        loss = model(**inputs, items=items.clamp(min=1))["loss"]
        # DDP takes the mean of the gradients; `items` counts the labels of all processes.
        return loss * trainer.accelerator.num_processes

    trainer.compute_loss = compute_loss
