"""The fast path: plain transformers + PEFT, its decoder layers compiled at one fixed shape.

Measured beside Unsloth and plain TRL in benchmarks/train.py. What it does: `attention` and `lora` in the layers, each
layer compiled once for all (`torch.compile` takes some 15 s), as many of them recomputed in the backward pass as memory
demands, `cross_entropy` at the end, batches of one shape, and for small models the whole step as one CUDA graph.
"""

from __future__ import annotations

import importlib
from functools import partial
from types import MethodType
from typing import Any

from ftlib import runtime
from ftlib.training import attention, lora
from ftlib.training.batches import IGNORE, fixed_shape
from ftlib.training.cross_entropy import Hold, from_forward, linear_cross_entropy
from ftlib.training.holding import HELD, base_context

# What is known to be: embedding, layers of causal attention over all earlier tokens, norm, linear head; no more.
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
# Below, a step is one CUDA graph: its kernels are shorter than their launches. Above, they are not, and the memory that
# a graph keeps for itself is missed.
GRAPH_WEIGHTS = 1e9


def obstacle(model_config: Any, max_length: int) -> str:
    """Why a model can't take this path; "" where it can."""
    kind = getattr(model_config, "model_type", "unknown")
    if kind not in MODEL_TYPES:
        return f"models of type {kind} are not known to it"
    window = getattr(model_config, "sliding_window", None)
    # Qwen's configurations name a window that they do not use.
    if window and window < max_length and getattr(model_config, "use_sliding_window", True):
        return f"attention looks back {window} tokens only, max_length is {max_length}"
    return ""


def prepare(model: Any, again: int) -> dict[str, Any]:
    """Turn a PEFT model into one whose forward takes packed batches and returns their loss.

    Args:
        again: decoder layers whose activations are computed again in the backward pass, the first ones.

    Returns:
        what was done, for the run's record.
    """
    import torch

    attention.register()
    causal = model.get_base_model()
    causal.set_attn_implementation(attention.NAME)
    fused = lora.fuse(model)
    layers = causal.model.layers
    for number, layer in enumerate(layers):
        layer.gradient_checkpointing = number < again
        # No state of a random generator to restore: there is no dropout.
        layer._gradient_checkpointing_func = partial(
            torch.utils.checkpoint.checkpoint, use_reentrant=False, preserve_rng_state=False
        )
    on_gpu = next(causal.parameters()).is_cuda
    if on_gpu:
        # A layer has a graph for each of: training and not, one document a row and several, recomputed and not.
        torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
        # Within DDP's forward a layer would be cut where a bucket of gradients ends, and not so when it is recomputed.
        # A layer is small enough a piece for the gradients to be sent while the next one is at work.
        torch._dynamo.config.optimize_ddp = False
        for layer in layers:
            layer.compile(dynamic=False)
    usual = causal.forward

    def forward(*args: Any, starts: Any = None, items: Any = None, **inputs: Any) -> Any:
        if items is None:
            return usual(*args, **inputs)
        return {"loss": packed_loss(causal, inputs, starts, items, getattr(causal, "ftlib_hold", None))}

    causal.forward = forward
    small = sum(weight.numel() for weight in model.parameters()) < GRAPH_WEIGHTS
    return {
        "compiled": on_gpu,
        "fused_lora_layers": fused,
        "checkpointed_layers": again,
        "layers": len(layers),
        "cuda_graph": on_gpu and small and not again and runtime.processes() == 1,
    }


def packed_loss(
    causal: Any, inputs: dict[str, Any], starts: Any, items: Any, hold: tuple[Any, float] | None = None
) -> Any:
    """Sum of the losses of a batch of `batches.fixed_shape` over `items`, the number of labels of the whole step.

    Args:
        starts: the batch's, or None where each row is one document.
        hold: `holding.base_context` of the model and the strength, where labels are marked; None: none are.
    """
    import torch

    mask = None if starts is None else attention.documents_mask(starts)

    def hidden_states() -> Any:
        hidden = causal.model(
            input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], attention_mask=mask, use_cache=False
        ).last_hidden_state
        # Where the head is trained PEFT's wrapper gives the trained weight, and with the adapter off the base's own.
        return hidden.flatten(0, 1), causal.lm_head.weight

    following = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORE).flatten()
    held = None
    if hold and torch.is_grad_enabled():
        base, strength = hold
        marked = following >= HELD
        following = torch.where(marked, following - HELD, following)
        with torch.no_grad(), base():
            of_base, base_head = hidden_states()
        held = Hold(of_base, base_head, marked, strength)
    hidden, head = hidden_states()
    return linear_cross_entropy(hidden, head, following, 1.0 / items, held)


def attach(trainer: Any, length: int, strength: float = 0.0) -> None:
    """Have a trainer of packed rows send batches of one shape through the model's packed forward.

    Args:
        length: tokens of a sequence.
        strength: of the loss of labels that are marked (`holding.mark`); 0: none are.
    """
    from ftlib.training.graphed import graph_steps

    graph = trainer.model.ftlib_path["cuda_graph"]
    trainer.train_dataset = trainer.train_dataset.with_format("numpy")
    if strength:
        trainer.model.get_base_model().ftlib_hold = (base_context(trainer.model), strength)
    rows = trainer.args.per_device_train_batch_size
    padding = trainer.processing_class.pad_token_id
    # A graph is recorded for one kind of attention, which must then be the one that every batch can take.
    trainer.data_collator = partial(
        fixed_shape, length=length, rows=rows, pad_token_id=padding, causal_where_possible=not graph
    )
    from_forward(trainer)
    _spare_the_host(trainer)
    if graph:
        graph_steps(trainer)


def _spare_the_host(trainer: Any) -> None:
    """Keep the trainer from walking through all modules several times a step, which takes 30 ms at 30 layers of LoRA.

    What it walks for: an estimate of operations that nobody reads (`flops` has a better one), the list of weights whose
    gradients are clipped, which does not change, and training mode, where the model is in it already.
    """
    import torch

    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    trainer.floating_point_ops = lambda inputs: 0
    trainer._clip_grad_norm = lambda model: torch.nn.utils.clip_grad_norm_(
        weights, trainer.args.max_grad_norm, foreach=True
    )
    model, walk = trainer.model, trainer.model.train
    # A fresh PEFT model says that it is in training mode while its layers, which recompute in that mode alone, are not.
    modules = [model, *model.get_base_model().model.layers]
    model.train = lambda mode=True: model if mode and all(one.training for one in modules) else walk(mode)
    create = trainer.create_optimizer

    def create_optimizer(*args: Any, **more: Any) -> Any:
        made = trainer.optimizer is None
        optimizer = create(*args, **more)
        if made:
            _without_waiting(optimizer)
        return optimizer

    trainer.create_optimizer = create_optimizer


def _without_waiting(optimizer: Any) -> None:
    """Keep adamw_8bit from waiting for the card after each weight, 448 times a step for 32 layers of LoRA.

    bitsandbytes (0.50.2, optim/optimizer.py) waits for the sake of states in paged memory. Others need no order but
    that of the default stream, on which both the trainer's kernels and its own run (as its pull request 2050 has it).
    """
    import torch

    if not type(optimizer).__module__.startswith("bitsandbytes") or optimizer.is_paged:
        return
    theirs: Any = importlib.import_module("bitsandbytes.optim.optimizer")
    usual = optimizer.step

    def step(_: Any, *args: Any, **more: Any) -> Any:
        if torch.cuda.current_stream() != torch.cuda.default_stream():
            return usual(*args, **more)
        waiting, theirs.sync_gpu = theirs.sync_gpu, lambda weight: None
        try:
            return usual(*args, **more)
        finally:
            theirs.sync_gpu = waiting

    optimizer.step = MethodType(step, optimizer)  # a method, as schedulers expect
