"""Sampling of tokens by chances that are given, so that an answer can be had again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def nucleus(logits: Any, temperature: float, top_p: float, chances: Sequence[float]) -> Any:
    """The token at which the cumulated probability passes the row's chance, in the order of the vocabulary.

    In that order and in fp64, so that logits which differ in their last bits give the same token; by the order of their
    probabilities, two that are nearly equal would change places.

    Args:
        logits: [rows, vocabulary]; chances: one of [0, 1) a row.

    Returns:
        the tokens, [rows].
    """
    import torch

    probabilities = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ordered = probabilities.sort(-1, descending=True).values
        # The fewest whose sum reaches top_p: those before which less than it is summed up.
        inside = ordered.cumsum(-1) - ordered < top_p
        least = ordered.gather(-1, inside.sum(-1, keepdim=True) - 1)
        probabilities = probabilities.where(probabilities >= least, 0.0)
    cumulated = probabilities.cumsum(-1)
    wanted = torch.tensor(chances, dtype=cumulated.dtype, device=cumulated.device)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, wanted, right=True)[:, 0]
