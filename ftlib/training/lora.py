"""A frozen linear layer and its adapter as one operation, opaque to the compiler.

The adapter's product is added by the second matrix product itself (`addmm_`), forward and backward, so that it is
neither written nor read apart; PEFT's own layer does three passes over the output. On an H100, Mistral 7B's shape at
r = 512, it makes a step 22 ms of 731 shorter (benchmarks/results/compiled_blocks_h100.json has the whole).
"""

from __future__ import annotations

from functools import cache
from types import MethodType
from typing import Any


@cache
def register() -> None:
    """Make the operation known to torch, as torch.ops.ftlib.lora_linear."""
    import torch

    # Schemas as text: torch is imported in here, where it can't resolve annotations.
    @torch.library.custom_op(
        "ftlib::lora_linear",
        mutates_args=(),
        schema="(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, float scale) -> (Tensor, Tensor)",
    )
    def forward(x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        out = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
        low = flat @ a.t()
        out.addmm_(low, b.t(), alpha=scale)
        return out.view(*x.shape[:-1], weight.shape[0]), low

    @forward.register_fake
    def _(x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
        return x.new_empty(*x.shape[:-1], weight.shape[0]), x.new_empty(x.numel() // x.shape[-1], a.shape[0])

    @torch.library.custom_op(
        "ftlib::lora_linear_backward",
        mutates_args=(),
        schema="(Tensor grad, Tensor x, Tensor low, Tensor weight, Tensor a, Tensor b, float scale)"
        " -> (Tensor, Tensor, Tensor)",
    )
    def backward(grad: Any, x: Any, low: Any, weight: Any, a: Any, b: Any, scale: float) -> Any:
        out, flat = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        low_grad = out @ b
        if scale != 1:
            low_grad = low_grad * scale
        x_grad = out @ weight
        x_grad.addmm_(low_grad, a)
        b_grad = out.t() @ low
        return x_grad.view_as(x), low_grad.t() @ flat, b_grad * scale if scale != 1 else b_grad

    @backward.register_fake
    def _(grad: Any, x: Any, low: Any, weight: Any, a: Any, b: Any, scale: float) -> Any:
        return torch.empty_like(x), torch.empty_like(a), torch.empty_like(b)

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, _, a, b, ctx.scale = inputs
        ctx.save_for_backward(x, output[1], weight, a, b)

    def gradient(ctx: Any, grad: Any, _: Any) -> Any:
        x, low, weight, a, b = ctx.saved_tensors
        x_grad, a_grad, b_grad = backward(grad.contiguous(), x, low, weight, a, b, ctx.scale)
        return x_grad, None, None, a_grad, b_grad, None

    forward.register_autograd(gradient, setup_context=keep)


def lora_linear(x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
    """x W^T + bias + scale * (x A^T) B^T, with gradients for x, A and B alone; after `register`.

    Args:
        x: (..., in); weight: (out, in), frozen; bias: (out,) or None; a: (r, in); b: (out, r); all of one dtype.
    """
    import torch

    return torch.ops.ftlib.lora_linear(x, weight, bias, a, b, scale)[0]


def fuse(model: Any) -> int:
    """Put the one operation in place of PEFT's forward where it computes the same; returns in how many layers.

    Left as they are: layers with dropout, DoRA, several adapters, a quantised base, or a trained one.
    """
    import torch
    from peft.tuners.lora.layer import Linear

    register()
    fused = 0
    for module in model.modules():
        if type(module) is not Linear or type(module.base_layer) is not torch.nn.Linear:
            continue
        base = module.base_layer
        plain = list(module.lora_A) == ["default"] and not module.lora_variant and not base.weight.requires_grad
        if plain and isinstance(module.lora_dropout["default"], torch.nn.Identity):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _forward(self: Any, x: Any, *args: Any, **more: Any) -> Any:
    import torch

    weight, bias = self.base_layer.weight, self.base_layer.bias
    if self.merged:
        return type(self).forward(self, x, *args, **more)
    if self._disable_adapters:
        return torch.nn.functional.linear(x, weight, bias)
    a, b = self.lora_A["default"].weight, self.lora_B["default"].weight
    x = x.to(weight.dtype)
    return lora_linear(x, weight, bias, a.to(x.dtype), b.to(x.dtype), self.scaling["default"])
