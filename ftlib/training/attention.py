"""Attention over packed rows on the compiled path: documents kept apart, at the speed of the card's own kernels.

Unsloth without flash-attn or a matching xformers calls SDPA once a document and layer; plain TRL computes all pairs of
tokens and masks most of them (benchmarks/results/packed_attention_h100.json). Here a batch of several documents goes
through flex attention, whose kernel skips the blocks of other documents (Dong et al. 2024, arXiv:2412.05496), and one
whose rows are a document each through SDPA's causal kernels, cuDNN's among them.
"""

from __future__ import annotations

from typing import Any

NAME = "ftlib_packed"
BLOCK = 128
_FORWARD = {"fwd_BLOCK_M": 64, "fwd_BLOCK_N": 64, "fwd_num_warps": 4, "fwd_num_stages": 3}
_BACKWARD = {f"bwd_BLOCK_{name}": 64 for name in ("M1", "N1", "M2", "N2")} | {"bwd_num_warps": 4, "bwd_num_stages": 3}
# Of flex attention's kernels, by head size, where they were measured to beat torch's own choice (H100, a layer of
# SmolLM2's packs of 32,768 tokens: forward 0.49 -> 0.45 ms, backward 1.27 -> 1.18).
HOPPER_TILES = {64: _FORWARD | _BACKWARD, 128: _FORWARD}
_tiles: dict[int, dict[str, int]] = {}  # of the card at hand


def register() -> None:
    """Make `attn_implementation="ftlib_packed"` known to transformers; no mask is registered, so it builds none."""
    import torch
    from torch.nn.attention import flex_attention
    from transformers import AttentionInterface

    # Options named by direction came with that class.
    if torch.cuda.is_available() and hasattr(flex_attention, "FlexKernelOptions"):
        _tiles.update(HOPPER_TILES if torch.cuda.get_device_capability() == (9, 0) else {})
    AttentionInterface.register(NAME, attention)


def attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Any, None]:
    """One layer's attention: (batch, heads, length, head size) -> (batch, length, heads, head size).

    Args:
        attention_mask: None where each row is one document (causal), else what `documents_mask` returned.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    grouped = query.shape[1] != key.shape[1]
    if attention_mask is None:
        out = sdpa(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)
    elif isinstance(attention_mask, torch.Tensor):
        out = sdpa(query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=grouped)
    else:
        from torch.nn.attention.flex_attention import flex_attention

        tiles: Any = _tiles.get(query.shape[-1])
        out = flex_attention(
            query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=grouped, kernel_options=tiles
        )
    return out.transpose(1, 2).contiguous(), None


def documents_mask(starts: Any) -> Any:
    """What lets a token see its own document's earlier tokens and no other's.

    Args:
        starts: (length,) int32: for each token, the position at which its document begins.

    Returns:
        a BlockMask on a GPU; on a CPU, where flex attention has no backward pass, a bool tensor (1, 1, length, length).
    """
    import torch

    if starts.is_cuda and starts.shape[0] % BLOCK == 0:
        return block_mask(starts)
    at = torch.arange(starts.shape[0], device=starts.device)
    return ((at[:, None] >= at[None]) & (at[None] >= starts[:, None]))[None, None]


def block_mask(starts: Any) -> Any:
    """The same as a BlockMask, by a few operations on (length / 128)^2 numbers, all of them on the device.

    `create_block_mask` looks at all length^2 pairs. A block of keys counts for a block of queries from the document of
    its first query on; it needs no mask inside where it lies before the diagonal and in the last query's document.
    """
    import torch
    from torch.nn.attention.flex_attention import BlockMask

    first, last = starts[::BLOCK], starts[BLOCK - 1 :: BLOCK]
    block = torch.arange(first.shape[0], device=starts.device)
    seen = (block[None] >= (first // BLOCK)[:, None]) & (block[None] <= block[:, None])
    whole = (block[None] < block[:, None]) & (block[None] * BLOCK >= last[:, None])

    def listed(chosen: Any) -> tuple[Any, Any]:
        # Stable, so that the chosen blocks come first and in order.
        indices = torch.argsort((~chosen).to(torch.int8), dim=1, stable=True)
        return chosen.sum(1, dtype=torch.int32)[None, None], indices.to(torch.int32)[None, None]

    def same_document(_batch: Any, _head: Any, query: Any, key: Any) -> Any:
        return (query >= key) & (key >= starts[query])

    return BlockMask.from_kv_blocks(*listed(seen & ~whole), *listed(whole), BLOCK_SIZE=BLOCK, mask_mod=same_document)
