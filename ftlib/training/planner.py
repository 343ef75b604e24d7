"""What fits the card, and how long it takes, from the model's configuration alone: nothing is loaded.

    plan = fit(config, accelerator(), lengths)
    print("\n".join(lines(plan)))
    config = plan.config

Memory and speed are those of `estimates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftlib.errors import SetupError
from ftlib.training import backends, flops, whole
from ftlib.training.estimates import EXACT, SMALL, memory, recomputed, seconds_per_token

if TYPE_CHECKING:
    from ftlib.runtime import Accelerator
    from ftlib.settings import TrainConfig

# Beside torch.cuda.max_memory_allocated: CUDA's context, the libraries, and what torch reserves without using it
# (1 to 2 GiB on the H100).
CONTEXT_GIB = 1.5
# USD an hour by a part of the card's name and its least GiB: rough prices of 2025 for one card, on Colab or a cheap
# cloud. Check yours.
USD_PER_HOUR = {("H100", 0): 2.5, ("A100", 60): 0.8, ("A100", 0): 0.6, ("L4", 0): 0.25, ("T4", 0): 0.15}
LEAST_RANK = 8


@dataclass(frozen=True)
class Plan:
    """What `fit` chose."""

    config: TrainConfig
    machine: Accelerator
    backend: str
    memory: dict[str, float]
    """GiB by part at the step's highest moment; empty on a CPU."""
    total_gib: float
    """Their sum: torch.cuda.max_memory_allocated, as predicted."""
    left_gib: float | None
    """Of the card's memory, beside `total_gib` and `CONTEXT_GIB`; None on a CPU."""
    tokens_per_second: float | None
    """None for a card that is not in flops.PEAK_TFLOPS, and on a CPU."""
    minutes: float | None
    """Of training, loading and compiling left out; None without lengths or speed."""
    usd: float | None
    """Of those minutes; None for a card without a price."""
    why: list[str]


def usd_per_hour(machine: Accelerator) -> float | None:
    """From `USD_PER_HOUR`; None for a card that is not in it."""
    names = machine.name.replace("-", " ").split()
    fits = (usd for (card, least), usd in USD_PER_HOUR.items() if card in names and machine.memory_gib >= least)
    return next(fits, None)


def fit(
    config: TrainConfig,
    machine: Accelerator,
    lengths: Sequence[int] | None = None,
    *,
    margin: float = 0.08,
    batch_tokens: int | None = None,
    held: bool = False,
) -> Plan:
    """The fastest setting that fits: backend, 16 or 4 bits, optimizer, recomputed layers and micro-batch.

    Model, rank, length and effective batch stay as they are asked for, and the precision but for bf16 on a card without
    it, which gets fp16. 4 bits only where 16 do not fit; adamw_8bit only where exact states do not fit beside all
    activations; a micro-batch is split only where that makes it fit or faster.

    Args:
        config: the wishes; its optimizer counts only if it is neither of `EXACT` and `SMALL`.
        lengths: tokens of the rows of an epoch, for minutes and cost.
        margin: share of the card's memory that stays free.
        batch_tokens: tokens of an optimizer step, in place of the config's rows.
        held: some rows are the base's own chats, for which it is computed along (`holding`).

    Raises:
        SetupError: the least setting does not fit; the message says what it needs, what there is, and the ways out. Or
            a model that is too large for method="full".
    """
    if not 0 <= margin < 1:
        raise SetupError(f"margin={margin}: it is a share of the card's memory, at least 0 and below 1.")
    if batch_tokens is not None:
        rows = max(1, round(batch_tokens / config.max_length))
        config = replace(config, per_device_train_batch_size=rows, gradient_accumulation_steps=1)
    if machine.kind != "cuda":
        backend = backends.choose(config, machine)[0]
        told = "There is no GPU: memory is not planned, speed is not known, and the settings stay as they are."
        return Plan(config, machine, backend, {}, 0.0, None, None, None, None, [told])
    narrow = config.precision == "bf16" and not machine.bf16
    config = replace(config, precision="fp16") if narrow else config
    shape = flops.shape_of(backends.config_of(config.model))
    whole.check_size(config, shape.weights)
    known = flops.peak_flops(machine.name)
    cut = [min(length, config.max_length) for length in lengths or ()]
    context = flops.mean_context(cut) if cut else (config.max_length + 1) / 2
    row = sum(cut) / len(cut) if cut and not config.packing else config.max_length
    limit = machine.memory_gib * (1 - margin) - CONTEXT_GIB

    def seconds(candidate: TrainConfig, backend: str) -> float:
        return seconds_per_token(
            shape, candidate, backend, known or 1e14, context, row, held and bool(config.hold_strength)
        )

    why: list[str] = []
    for option, backend, reason in _options(config, machine):
        found = []
        for candidate in _candidates(option, shape.layers, backend):
            total = sum(memory(shape, candidate, backend).values())
            if total <= limit:
                order = (seconds(candidate, backend), -candidate.per_device_train_batch_size, total)
                found.append((order, candidate))
        if found:
            why.insert(0, f"{backend}: {reason}.")
            if narrow:
                why.append(f"fp16, since {machine.name} has no bf16.")
            break
        least = least_gib(shape, option, backend)
        bits = 4 if option.load_in_4bit else 16
        why.append(f"{backend} in {bits} bits needs {least:.1f} GiB at least; {limit:.1f} are there to plan with.")
    else:
        raise _too_small(shape, option, backend, machine, limit)
    chosen = min(found, key=lambda one: one[0])[1]
    parts = memory(shape, chosen, backend)
    total = sum(parts.values())
    rate = 1 / seconds(chosen, backend) if known else None
    step = chosen.per_device_train_batch_size * chosen.gradient_accumulation_steps * row
    tokens = config.max_steps * step if config.max_steps else sum(cut) * config.num_train_epochs
    minutes = tokens / rate / 60 if rate and cut else None
    price = usd_per_hour(machine)
    usd = minutes / 60 * price if minutes is not None and price is not None else None
    why += _reasons(chosen, backend, shape, machine, rate, minutes, usd)
    left = machine.memory_gib - CONTEXT_GIB - total
    return Plan(chosen, machine, backend, parts, total, left, rate, minutes, usd, why)


def _options(config: TrainConfig, machine: Accelerator) -> Iterator[tuple[TrainConfig, str, str]]:
    """Backends and widths in the order in which they are wanted: settings, backend, why it."""
    if not config.load_in_4bit:
        backend, reason = backends.choose(config, machine)
        yield config, backend, reason
        if config.backend == "auto" and backend == "compiled" and not whole.is_whole(config):
            yield replace(config, backend="unsloth"), "unsloth", "it keeps less than compiled blocks do"
    if config.backend != "compiled" and config.method != "full":
        narrow = replace(config, load_in_4bit=True)
        yield narrow, *backends.choose(narrow, machine)


def _candidates(config: TrainConfig, layers: int, backend: str) -> Iterator[TrainConfig]:
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    own = config.optim not in (EXACT, SMALL)
    for micro in (number for number in range(rows, 0, -1) if rows % number == 0):
        split = replace(config, per_device_train_batch_size=micro, gradient_accumulation_steps=rows // micro)
        for again in (0, -1) if backend == "trl" else (*range(layers), -1):
            for optim in (config.optim,) if own else (SMALL,) if again else (EXACT, SMALL):
                yield replace(split, checkpoint_layers=again, optim=optim)


def least_gib(shape: flops.Shape, config: TrainConfig, backend: str) -> float:
    """Of the settings that `fit` may choose from: what the smallest needs."""
    return min(sum(memory(shape, one, backend).values()) for one in _candidates(config, shape.layers, backend))


def _too_small(shape: flops.Shape, config: TrainConfig, backend: str, machine: Accelerator, limit: float) -> SetupError:
    rank, fits, full = config.lora_r, False, config.method == "full"
    while not fits and not full and rank >= 2 * LEAST_RANK:
        rank //= 2
        fits = least_gib(shape, replace(config, lora_r=rank), backend) <= limit
    four = "a 4-bit base (backend='auto')" if config.backend == "compiled" and not full else ""
    lower = f"lora_r={rank}, which fits" if fits else ""
    less = "method='lora'" if full else "train_embeddings=False" if config.train_embeddings else ""
    ways = [way for way in (less, four, lower, "a smaller model", "another card (Colab: A100)") if way]
    bits = 4 if config.load_in_4bit else 16
    asked = "method='full'" if full else f"lora_r={config.lora_r}"
    return SetupError(
        f"{config.model} with {asked} and max_length={config.max_length} needs "
        f"{least_gib(shape, config, backend) + CONTEXT_GIB:.1f} GiB at the least ({bits}-bit "
        f"base, {backend}, one row at a time, recomputing, CUDA's own {CONTEXT_GIB} GiB included). {machine.name} has "
        f"{machine.memory_gib:.1f} GiB, of which {max(0.0, limit) + CONTEXT_GIB:.1f} are planned with. "
        f"Take {', or '.join(ways)}."
    )


def _reasons(
    config: TrainConfig,
    backend: str,
    shape: flops.Shape,
    machine: Accelerator,
    rate: float | None,
    minutes: float | None,
    usd: float | None,
) -> Iterator[str]:
    again = recomputed(config, shape.layers, backend)
    yield "The base is in 4 bits (QLoRA)." if config.load_in_4bit else "The base is in 16 bits, as it comes."
    if whole.is_whole(config):
        what = "All weights are" if config.method == "full" else "embed_tokens and lm_head are"
        yield f"{what} trained as a copy in fp32, beside the base's own."
    yield f"{again} of {shape.layers} layers are recomputed{', the fewest that fit' if again else ''}."
    if config.optim == EXACT:
        yield "adamw_torch_fused: exact states, half of adamw_8bit's time, and there is room for them."
    elif config.optim == SMALL:
        yield "adamw_8bit: exact states would take 6 bytes more for each weight that is trained."
    rows, times = config.per_device_train_batch_size, config.gradient_accumulation_steps
    several = f"has {rows * times} rows of {config.max_length:,} tokens, {rows} at a time"
    yield f"An optimizer step {several if rows * times > 1 else f'is one row of {config.max_length:,} tokens'}."
    if rate is None:
        yield f"How fast {machine.name} is, is not known here."
        return
    narrow = "; in 4 bits it may be slower" if config.load_in_4bit else ""
    yield f"About {rate:,.0f} tokens a second, by what an H100 was measured to do{narrow}."
    if minutes is not None:
        price = f", {usd:.2f} USD (prices of 2025, check yours)" if usd is not None else ""
        yield f"About {minutes:,.0f} minutes of training{price}; loading and compiling come on top."


def smaller(config: TrainConfig, machine: Accelerator) -> tuple[TrainConfig, str] | None:
    """After the card ran out of memory: the next setting that needs less, and the sentence that says so.

    In this order, as far as each makes it smaller: a quarter more of the layers recomputed, until all are; a smaller
    micro-batch, the effective batch kept; adamw_8bit; with LoRA 4 bits, and half the rank. The length stays: the data
    is cut to it. None where nothing is left that saves half a percent, and without a GPU.
    """
    if machine.kind != "cuda":
        return None
    shape = flops.shape_of(backends.config_of(config.model))
    backend = backends.choose(config, machine)[0]
    before = sum(memory(shape, config, backend).values())
    for candidate, sentence in _steps(config, shape.layers, backend):
        after = sum(memory(shape, candidate, backends.choose(candidate, machine)[0]).values())
        if after < 0.995 * before:
            return candidate, f"{sentence}: about {after:.1f} GiB instead of {before:.1f}."
    return None


def _steps(config: TrainConfig, layers: int, backend: str) -> Iterator[tuple[TrainConfig, str]]:
    again, quarter = recomputed(config, layers, backend), -(-layers // 4)
    for more in (layers,) if backend == "trl" else (*range(again + quarter, layers, quarter), layers):
        if more > again:
            name = "all" if more == layers else f"{more} of {layers}"
            yield replace(config, checkpoint_layers=-1 if more == layers else more), f"Recompute {name} layers"
    rows, times = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if rows > 1:
        parts = next(number for number in range(2, rows + 1) if rows % number == 0)
        few = rows // parts
        split = replace(config, per_device_train_batch_size=few, gradient_accumulation_steps=times * parts)
        yield split, f"Take {few} of the {rows} rows at a time"
    if "8bit" not in config.optim:
        yield replace(config, optim=SMALL), "Keep the optimizer's states in 8 bits (adamw_8bit)"
    if config.method == "full":
        return
    if not config.load_in_4bit and config.backend != "compiled":
        yield replace(config, load_in_4bit=True), "Load the base in 4 bits (QLoRA)"
    if config.lora_r >= 2 * LEAST_RANK:
        rank = config.lora_r // 2
        # LoRA's scale stays: alpha / r, or alpha / sqrt(r).
        alpha = max(1, round(config.lora_alpha * (rank / config.lora_r) ** (0.5 if config.use_rslora else 1)))
        yield replace(config, lora_r=rank, lora_alpha=alpha), f"Halve the rank to {rank}, which learns less"


# --- for the notebook -------------------------------------------------------------------------------------------------


def table(plan: Plan) -> list[dict[str, str | float]]:
    """Rows of part and GiB, the card's whole memory; none on a CPU."""
    if plan.left_gib is None:
        return []
    parts = {**plan.memory, "CUDA and its libraries": CONTEXT_GIB, "left": plan.left_gib}
    return [{"part": part, "GiB": round(number, 2)} for part, number in parts.items()]


def lines(plan: Plan) -> list[str]:
    """The plan in sentences: the memory first."""
    if plan.left_gib is None:
        return list(plan.why)
    card = f"{plan.machine.name}, {plan.machine.memory_gib:.1f} GiB"
    return [f"{card}: the step needs {plan.total_gib + CONTEXT_GIB:.1f} GiB at its highest moment.", *plan.why]
