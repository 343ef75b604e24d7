"""A step of a small model as one CUDA graph: the host launches a single thing where it launched some 4,000.

Unsloth's step of a 135M model keeps the host busy for 300 ms and an H100 for 115
(benchmarks/results/packed_attention_h100.json). A graph needs everything to stay where it is: inputs are copied into
fixed tensors, and gradients are zeroed and not dropped.
"""

from __future__ import annotations

from typing import Any

WARM_STEPS = 3  # real steps before the recording: compilation, autotuning, workspaces


def graph_steps(trainer: Any) -> None:
    """Replace `trainer.training_step` by one that records a batch after WARM_STEPS, and replays it from then on."""
    import torch

    model = trainer.model
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)

    def zero_grad(set_to_none: bool = True) -> None:
        torch._foreach_zero_([weight.grad for weight in weights])

    model.zero_grad = zero_grad
    aside = torch.cuda.Stream()
    seen = 0
    recorded: Any = None
    held: dict[str, Any] = {}
    loss: Any = None

    def run(inputs: dict[str, Any]) -> Any:
        inputs = dict(inputs)
        items = inputs.pop("items")
        value = trainer.compute_loss(model, inputs, num_items_in_batch=items)
        value.backward()
        return value.detach()

    def training_step(_model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        nonlocal seen, recorded, loss
        if not model.training:  # it walks through all modules
            model.train()
        inputs = trainer._prepare_inputs(inputs)
        device = inputs["input_ids"].device
        inputs["items"] = torch.as_tensor(num_items_in_batch, device=device).float()
        seen += 1
        if seen <= WARM_STEPS:
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                value = run(inputs)
            torch.cuda.current_stream().wait_stream(aside)
            return value
        if recorded is None:
            held.update({name: value.clone() for name, value in inputs.items()})
            torch.cuda.synchronize()
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                loss = run(held)
        for name, value in inputs.items():
            held[name].copy_(value)
        recorded.replay()
        return loss.clone()

    trainer.training_step = training_step
