"""The cache of a pool of rows that end and begin: `generation` decodes with it.

Keys and values of all rows end in the same column; what a row lacks on the left is masked.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ftlib import runtime

SLACK = 32
"""Columns by which the cache grows."""


@functools.cache
def _layer_class() -> Any:
    from transformers.cache_utils import DynamicLayer

    class Layer(DynamicLayer):  # type: ignore[misc, valid-type]
        """Grows by SLACK columns at a time: as it comes, it is copied whole for each token, into ever new sizes.

        All layers are held in full: where a model attends to a window, its mask says so.
        """

        def hold(self, keys: Any, values: Any, length: int) -> None:
            """Take buffers of which the first `length` columns count."""
            self.buffers = (keys, values)
            self.keys, self.values = keys[:, :, :length], values[:, :, :length]

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.hold(key_states, value_states, key_states.shape[-2])
                return self.keys, self.values
            before = self.keys.shape[-2]
            length = before + key_states.shape[-2]
            if length > self.buffers[0].shape[-2]:
                self.buffers = tuple(_widened(held, length + SLACK) for held in (self.keys, self.values))
            for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
                buffer[:, :, before:length] = new
            self.hold(*self.buffers, length)
            return self.keys, self.values

    return Layer


def _widened(held: Any, width: int) -> Any:
    buffer = held.new_empty(*held.shape[:2], width, held.shape[-1])
    buffer[:, :, : held.shape[-2]] = held
    return buffer


def new_cache(model: Any) -> Any:
    from transformers import DynamicCache

    if alone_from(model) < 0:
        return DynamicCache(config=model.config)
    cache = DynamicCache()
    cache.layer_class_to_replicate = _layer_class()
    return cache


def join(caches: Sequence[Any], kept: Sequence[Any], width: int) -> None:
    """Make the first cache that of the kept rows of all, layer by layer, flush right; the others are emptied.

    Args:
        kept: for each cache the rows to keep, a tensor of indices.
        width: columns to keep, the last ones.
    """
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        both = []
        for name in ("keys", "values"):
            held = [getattr(layer, name) for layer in layers]
            first = held[0]
            # Zeros, not what happens to lie there: a masked NaN is still one after it is weighted with 0.
            buffer = first.new_zeros(sum(map(len, kept)), first.shape[1], width + SLACK, first.shape[-1])
            row = 0
            for one, numbers in zip(held, kept, strict=True):
                columns = min(width, one.shape[-2])
                to = buffer[row : row + len(numbers), :, width - columns : width]
                to.copy_(one[:, :, one.shape[-2] - columns :].index_select(0, numbers))
                row += len(numbers)
            both.append(buffer)
        for layer in layers:
            layer.keys = layer.values = layer.buffers = None
        layers[0].hold(*both, width)


def token_room(model: Any, cache: Any) -> int:
    """Tokens of the cache that half of the free memory holds; the rest is for a layer's copies and the logits."""
    import torch

    held = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    each = sum(t.numel() * t.element_size() for t in held) / (held[0].shape[0] * held[0].shape[-2])
    if model.device.type != "cuda":
        return int(runtime.free_memory() / 2 / each)
    unused = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    return int((torch.cuda.mem_get_info(model.device)[0] + unused) / 2 / each)


def alone_from(model: Any) -> float:
    """Tokens of prompt and answer from which on a row must be alone in its batch, for its answer to be its own.

    With rotary tables that change with the longest row of a batch (dynamic, longrope), those that pass the original
    length. In a model that has states beside keys and values, all of them (-1).
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    config = model.config.get_text_config(decoder=True)
    if any(
        type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers
    ):
        return -1
    rope = getattr(config, "rope_parameters", None) or {}
    lengths = [float("inf")]
    for settings in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        if settings.get("rope_type") in ("dynamic", "longrope"):
            lengths.append(settings.get("original_max_position_embeddings") or config.max_position_embeddings)
    return min(lengths)
