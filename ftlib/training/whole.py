"""Weights that are trained whole: embedding and head beside LoRA, or every weight of the model in its place.

By PEFT's `modules_to_save`: such a module has a copy that is trained, in fp32, and the base's own, which answers while
the adapter is off. So a run of either kind is an adapter like any other: it is switched off for the base's answers,
checked against its base, scaled, exported and resumed by the same code. It costs the copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import TYPE_CHECKING, Any

from ftlib.errors import SetupError

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

# Of the largest model that is trained in full: a weight, its copy, its gradient and AdamW's states are 18 bytes.
FULL_WEIGHTS = 2e9


def is_whole(config: TrainConfig) -> bool:
    """Whether a run of these settings trains any module whole."""
    return config.method == "full" or config.train_embeddings


def check_size(config: TrainConfig, weights: float) -> None:
    """Raises SetupError for a model that is too large to be trained in full."""
    if config.method == "full" and weights > FULL_WEIGHTS:
        raise SetupError(
            f"{config.model} has {weights / 1e9:.1f} billion weights; method='full' is for models of up to "
            f"{FULL_WEIGHTS / 1e9:.0f}. Set method='lora'."
        )


def lora_options(config: TrainConfig, base: Any, lora: dict[str, Any]) -> dict[str, Any]:
    """`lora` (arguments of PEFT's LoraConfig) with the modules of `base` that these settings train whole."""
    from peft.utils.constants import DUMMY_TARGET_MODULES

    if not is_whole(config):
        return lora
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    names = {
        name.rpartition(".")[2]
        for name, module in base.named_modules(remove_duplicate=False)
        if (next(module.parameters(recurse=False), None) is not None if config.method == "full" else module in ends)
    }
    if config.method == "full":
        # LoraConfig wants a target; this one is PEFT's own word for none.
        lora = {"target_modules": DUMMY_TARGET_MODULES}
    tied = ends[0].weight is ends[1].weight
    return {**lora, "modules_to_save": sorted(names), "ensure_weight_tying": tied}


def prepare(model: Any, config: TrainConfig) -> None:
    """Make a fresh PEFT model's copies fp32, and have them computed in the width of the base.

    Raises:
        SetupError: method='full', and the model has weights that would not be trained, or be there twice.
    """
    for wrapper in wrappers(model).values():
        wrapper.ftlib_dtype = next(wrapper.original_module.parameters()).dtype
        wrapper.forward = MethodType(_forward, wrapper)
    widen(model)
    counts = [0, 0]
    for weight in model.parameters():
        counts[weight.requires_grad] += weight.numel()
    if config.method == "full" and counts[0] != counts[1]:
        raise SetupError(
            f"{config.model}: its modules lie within one another, which method='full' can't copy. Set method='lora'."
        )


def wrappers(model: Any) -> dict[str, Any]:
    """The modules that hold a trained copy beside the base's own, by their names."""
    from peft.utils import ModulesToSaveWrapper

    return {name: module for name, module in model.named_modules() if isinstance(module, ModulesToSaveWrapper)}


def widen(model: Any) -> None:
    """Trained weights in fp32: smaller steps than a 16-bit weight can take are not lost, and fp16's scaler wants it."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _forward(self: Any, x: Any, *args: Any, **more: Any) -> Any:
    """Of PEFT's wrapper: the product in the width of `x`, all else in fp32 and rounded to what the base would give.

    Without it, an embedding or norm in fp32 would make all that follows as wide.
    """
    import torch

    if self.disable_adapters:
        return self.original_module(x, *args, **more)
    own = self.modules_to_save["default"]
    if isinstance(own, torch.nn.Linear):
        bias = None if own.bias is None else own.bias.to(x.dtype)
        return torch.nn.functional.linear(x, own.weight.to(x.dtype), bias)
    return own(x, *args, **more).to(self.ftlib_dtype)


def _pairs(model: Any) -> Iterator[tuple[Any, Any]]:
    """Each weight that is trained whole, once, and the base's own."""
    seen = set()
    for wrapper in wrappers(model).values():
        originals = dict(wrapper.original_module.named_parameters())
        for name, weight in wrapper.modules_to_save["default"].named_parameters():
            if id(weight) not in seen:
                seen.add(id(weight))
                yield weight, originals[name]


def is_trained(model: Any) -> bool:
    """Whether the adapter is no fresh one: B is not zero, or a copy is not its original."""
    return any(weight.any() for name, weight in model.named_parameters() if "lora_B" in name) or any(
        not weight.equal(original.to(weight.dtype)) for weight, original in _pairs(model)
    )


def scale(model: Any, factor: float) -> None:
    """Multiply what was learned: LoRA's B, and the difference of each copy to its original."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.mul_(factor)
    _scale_copies(model, factor)


def _scale_copies(model: Any, factor: float) -> None:
    import torch

    with torch.no_grad():
        for weight, original in _pairs(model):
            start = original.to(weight.dtype)
            weight.sub_(start).mul_(factor).add_(start)


@contextmanager
def scaled(model: Any, factor: float) -> Iterator[None]:
    """A context in which what was learned counts `factor` times; behind it the model is what it was, to the bit."""
    import torch
    from peft.tuners.lora import LoraLayer

    if factor == 1:
        yield
        return
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    before = [dict(layer.scaling) for layer in layers]
    copies = [(weight, weight.detach().clone()) for weight, _ in _pairs(model)]
    try:
        for layer in layers:
            layer.scaling.update({name: factor * value for name, value in layer.scaling.items()})
        _scale_copies(model, factor)
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)
        with torch.no_grad():
            for weight, copy in copies:
                weight.copy_(copy)


def second_rate(trainer: Any, config: TrainConfig) -> None:
    """Give embedding and head a group of their own in the optimizer; the schedule's shape is that of all groups."""
    create = trainer.create_optimizer
    base = trainer.model.get_base_model()
    own = {id(module.weight) for module in (base.get_input_embeddings(), base.get_output_embeddings())}

    def create_optimizer(model: Any = None) -> Any:
        if trainer.optimizer is not None:
            return trainer.optimizer
        optimizer = create(model)
        for group in list(optimizer.param_groups):
            if chosen := [weight for weight in group["params"] if id(weight) in own]:
                group["params"] = [weight for weight in group["params"] if id(weight) not in own]
                optimizer.add_param_group({**group, "params": chosen, "lr": embedding_rate(config)})
        return optimizer

    trainer.create_optimizer = create_optimizer


def embedding_rate(config: TrainConfig) -> float:
    """Peak learning rate of embedding and head."""
    return config.embedding_learning_rate or config.learning_rate / 10
