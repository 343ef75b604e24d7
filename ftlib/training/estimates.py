"""Memory and time of a training step, from the model's sizes and the settings: nothing is loaded.

Memory is followed through the step, and its highest moment counts. A backward pass frees a layer's activations (Mistral
7B, 8,192 tokens: 1.2 GiB) and makes its gradients (r = 512: 0.16), so the top is at its start where layers are kept and
at its end where all are recomputed. benchmarks/results/planner_h100.json has what was measured; memory is predicted
within 6 % of it, speed within 8 % (tests/test_planner.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftlib.training import flops, holding
from ftlib.training.compiled import GRAPH_WEIGHTS
from ftlib.training.cross_entropy import chunk_tokens

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

GIB = 2**30
EXACT, SMALL = "adamw_torch_fused", "adamw_8bit"
# nf4 with double quantisation (Dettmers et al. 2023, arXiv:2305.14314, section 3): 4 bits a weight, and for its
# constants 8 bits a block of 64 and 32 bits a block of 64 x 256.
FOUR_BIT_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
# adamw_8bit: two states of a byte, each with a float in 256 as its scale. Other AdamW: two floats.
OPTIMIZER_BYTES = {SMALL: 2 + 8 / 256, EXACT: 8.0}
# Kept activations over those listed in `_kept`: what Mistral on Unsloth and SmolLM2 on compiled blocks were measured to
# keep more, rounded up. Mistral on compiled blocks keeps what is listed.
ALLOWANCE = {"compiled": 1.04, "unsloth": 1.06, "trl": 1.0}
# Share of the data sheet's operations that a step without its optimizer does. Fitted to the H100's measurements at
# hidden size 4,096: compiled 0.51 to 0.55, Unsloth 0.51 to 0.55, TRL + PEFT 0.38. SmolLM2, with 576, reached 0.216,
# to which the power of the size is fitted. Other cards are taken to do the same share.
SHARE = {"compiled": 0.53, "unsloth": 0.525, "trl": 0.378}
# H100, 1.34e9 adapter weights: 14 and 47 ms; 25 where the host does not wait after each weight (compiled).
OPTIMIZER_SECONDS = {SMALL: 0.047 / 1.342e9, EXACT: 0.014 / 1.342e9}
UNWAITED_SECONDS = {**OPTIMIZER_SECONDS, SMALL: 0.025 / 1.342e9}


def recomputed(config: TrainConfig, layers: int, backend: str = "") -> int:
    """How many of the layers are computed again; plain TRL, by the settings or as the `backend` chosen, all or none."""
    asked = config.checkpoint_layers
    return layers if asked < 0 or ("trl" in (config.backend, backend) and asked) else min(asked, layers)


def _kept(shape: flops.Shape, config: TrainConfig, backend: str) -> tuple[float, float]:
    """Bytes that a layer keeps for its backward pass: a token's, and those of any number of tokens.

    Derived from what each path's operations save; Mistral 7B at r = 512 in states of a token (hidden x 2 bytes).
    """
    h, a, kv, f = shape.hidden, shape.attention, shape.key_value, shape.intermediate
    wide = 4 if config.precision == "fp32" else 2
    copies = wide * shape.trained(config)[0] / shape.layers  # of A and B, in the width of the products
    low = 0 if config.method == "full" else 7 * config.lora_r  # x A^T of the seven adapters: 0.9
    qkv = a + 2 * kv  # after rotary: 1.5
    if backend == "compiled":
        # Inputs of the two norms 2, their results 2, q k v, attention's result 1, gate, up and their product 10.5, low:
        # 17.9, and 1.25 of copies; measured (60.1 - 37.5) / 20 layers + 1 = 19.1.
        numbers = 4 * h + qkv + a + 3 * f + low
    elif backend == "unsloth":
        # As above without the product and low, which are computed again, nor copies: 13.5; measured
        # (50.7 - 36.5) / 16 layers = 14.2.
        numbers, copies = 4 * h + qkv + a + 2 * f, 0
    else:
        # transformers and PEFT, eager: both norms' inputs in fp32 4, an input for each of seven adapters 9.5,
        # q k v and attention's result 2.5, gate, silu(gate) and up 10.5, low: 27.4, and copies.
        numbers = 8 * h // wide + 5 * h + a + f + qkv + a + 3 * f + low
    return ALLOWANCE[backend] * wide * numbers, copies


def memory(shape: flops.Shape, config: TrainConfig, backend: str) -> dict[str, float]:
    """GiB by part at the highest moment of a step; their sum is torch.cuda.max_memory_allocated, as predicted.

    "adapter" is all that is trained, in fp32; the base's own weights are there beside it. What is trained whole follows
    the same formulas, from which nothing was measured yet.

    Args:
        backend: "compiled", "unsloth" or "trl".
    """
    layers = shape.layers
    adapter, ends = shape.trained(config)
    head = shape.head_weights if ends else 0
    wide = 4 if config.precision == "fp32" else 2
    tokens = config.per_device_train_batch_size * config.max_length
    again = recomputed(config, layers, backend)
    graph = backend == "compiled" and not again and shape.weights + adapter + ends < GRAPH_WEIGHTS
    inner = layers * shape.layer_weights
    base = inner * (FOUR_BIT_BYTES if config.load_in_4bit else wide) + (shape.weights - inner) * wide
    state, one_gradient = wide * tokens * shape.hidden, 4 * adapter / layers
    by_token, copies = _kept(shape, config, backend)
    kept = by_token * tokens + copies
    # Unsloth moves the inputs of recomputed layers to the host, through two buffers (here counted in any case).
    given, buffers = (0, 2 * state) if backend == "unsloth" else (state, 0)
    # A layer's backward pass: gradients of gate and up, and of the state along both ways (eager: fp32 copies too); the
    # layer's adapter and its gradients in the width of the products; a projection taken out of its 4 bits.
    parts_f, parts_h = (4, 3) if backend == "trl" else (2, 2)
    space = wide * tokens * (parts_f * shape.intermediate + parts_h * shape.hidden) + wide * adapter / layers + buffers
    space += wide * shape.hidden * shape.intermediate if config.load_in_4bit else 0
    # After accumulated batches, and in a graph, gradients are there from the start.
    always = graph or config.gradient_accumulation_steps > 1

    def moment(begun: int, kept_ones: float, inputs: float, work: float) -> tuple[float, ...]:
        done = layers if always else begun
        # The head's is there from the loss on, the embedding's at the very end; tied, they are one.
        outside = 4 * (ends if always or begun == layers else head)
        return done * one_gradient + outside, kept_ones * kept, inputs * given, work

    plain = layers - again
    # A trained head: its gradient once more, a chunk's, and the head itself, in the width of the products.
    of_loss = _loss_bytes(shape, tokens, backend, wide) + (4 + 2 * wide) * head
    moments = [
        moment(0, plain, again, of_loss + 3 * state + buffers),
        # The optimizer's; and before it the embedding's gradient, which is added to the head's where both are tied.
        moment(layers, 0, 0, 4 * head),
    ]
    # Where the backward pass starts, meets the first recomputed layer, and ends. Unsloth's kept layers lie evenly among
    # the others; elsewhere they are the last.
    even = backend == "unsloth"
    for below in {layers - 1, max(again - 1, 0), 0}:
        kept_below = plain * below / layers if even else max(0, below - again)
        own = again == 0 if even else below >= again  # whether the layer in work is a kept one
        work = space if own else space + kept
        moments.append(moment(layers - 1 - below, kept_below + own, below - kept_below, work))
    gradients, kept_all, inputs, work = max(moments, key=sum)
    parts = {
        "base weights": base,
        "adapter": 4 * (adapter + ends),
        "gradients": gradients,
        # The trainer keeps an embedding's states exact (transformers, Trainer.create_optimizer).
        "optimizer": (adapter + ends - head) * OPTIMIZER_BYTES[SMALL if "8bit" in config.optim else EXACT]
        + head * OPTIMIZER_BYTES[EXACT],
        "kept activations": kept_all,
        "inputs of recomputed layers": inputs,
        "work space": work,
    }
    return {part: number / GIB for part, number in parts.items()}


def _loss_bytes(shape: flops.Shape, tokens: int, backend: str, wide: int) -> float:
    """Of the logits in work: a chunk's in fp32 and twice in the model's width (`cross_entropy`).

    Unsloth's: 16 bytes a logit, in four chunks or more that stay below 4 GiB (unsloth_zoo 2026.10.9, fused_losses).
    """
    if backend == "unsloth":
        return min(4.0 * GIB, 16 * tokens * shape.vocabulary / 4)
    return min(chunk_tokens(shape.vocabulary), tokens) * shape.vocabulary * (4 + 2 * wide)


def seconds_per_token(
    shape: flops.Shape,
    config: TrainConfig,
    backend: str,
    peak: float,
    context: float,
    row: float,
    held: bool = False,
) -> float:
    """Of a whole step, optimizer included, by the token with a loss.

    Args:
        peak: the card's operations a second; context: tokens that a token attends to in the mean (flops.mean_context);
        row: tokens of a row of the batch in the mean: max_length where rows are packed.
        held: some rows are held to the base (`holding`), which is computed along, where the backend can.
    """
    again = recomputed(config, shape.layers, backend)
    _, hardware = flops.work_of(shape, config, context, again, held and holding.can_hold(config, backend, on_gpu=True))
    share = SHARE[backend] * min(1.0, shape.hidden / 4096) ** 0.46
    step = config.per_device_train_batch_size * config.gradient_accumulation_steps * row
    # Its time goes with the memory's speed, which differs less between cards than the operations': the safe side.
    slower = (flops.peak_flops("H100") or peak) / peak
    by_weight = UNWAITED_SECONDS if backend == "compiled" else OPTIMIZER_SECONDS
    optimizer = by_weight[SMALL if "8bit" in config.optim else EXACT] * sum(shape.trained(config))
    return hardware / (peak * share) + optimizer * slower / step
