"""The recipe's settings, and what fits the machine at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from ftlib import runtime
from ftlib.errors import SetupError
from ftlib.mixture import MixtureConfig
from ftlib.models import DEMO, RECIPE_MODEL
from ftlib.templates import ChatTemplate

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class TrainConfig:
    """The recipe's settings. Every one is passed on explicitly; none is left to a library's default."""

    model: str = RECIPE_MODEL
    """A hub id, a folder, or "demo"."""
    chat_template: ChatTemplate = "own"
    """own: the tokenizer's; mistral-reference: as Mistral's own encoder writes it, where the tokenizer's differs."""
    max_length: int = 8192
    """Tokens of the longest row; the mixture must have been built with the same."""
    method: Literal["lora", "full"] = "lora"
    """lora: an adapter on all seven projections; full: every weight, of models of up to 2 billion. Full training keeps
    the base's own weights beside the trained ones, saves all of them as the run's adapter, and ignores lora_*. It wants
    a lower learning_rate, by a factor of ten or so (LoRA Without Regret, Thinking Machines Lab 2025)."""
    train_embeddings: bool = False
    """With LoRA: train embed_tokens and lm_head too, whole, with a rate of their own; tied ones stay one weight. Full
    training has them in any case, and at learning_rate unless this is set."""
    embedding_learning_rate: float = 0.0
    """Peak learning rate of embed_tokens and lm_head with train_embeddings; 0: a tenth of learning_rate. Unsloth's
    guide to continued pretraining advises 2 to 10 times less (unsloth.ai/docs/basics/continued-pretraining)."""
    lora_r: int = 512
    """Rank of the adapter on all seven projections."""
    lora_alpha: int = 512
    """LoRA's scale is lora_alpha / lora_r (with use_rslora: over its square root)."""
    lora_dropout: float = 0.0
    """0 keeps Unsloth's fused path."""
    use_rslora: bool = False
    """Scale by 1/sqrt(r) instead of 1/r."""
    learning_rate: float = 2e-5
    """Peak learning rate; the recipe's best."""
    lr_scheduler_type: str = "cosine"
    """Down to zero at the last step."""
    warmup_steps: int = 0
    """Steps of linear warm-up; the recipe has none."""
    weight_decay: float = 0.0
    """On the adapter's weights."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    num_train_epochs: float = 1.0
    """Passes over the mixture; ignored where max_steps is set."""
    max_steps: int = 0
    """A cap on optimizer steps; 0 for none. The schedule ends at the cap."""
    per_device_train_batch_size: int = 1
    """Rows in a batch."""
    gradient_accumulation_steps: int = 1
    """Batches in an optimizer step."""
    optim: str = "adamw_8bit"
    """adamw_8bit needs bitsandbytes and a GPU."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    """Of the base and the matrix products; fp16, with a scaled loss, for GPUs without bf16 (T4, V100). What is trained
    and the optimizer's state stay in the library's own precision."""
    load_in_4bit: bool = False
    """QLoRA: the base in 4 bits (bitsandbytes)."""
    packing: bool = True
    """Several rows in one sequence of max_length, kept apart by position; by Unsloth only on a GPU."""
    checkpoint_layers: int = -1
    """Decoder layers whose activations are computed again in the backward pass: less memory, up to a third more work;
    -1: all, 0: none. `planner.fit` takes the fewest that the card allows. Plain TRL: all or none."""
    backend: Literal["auto", "compiled", "unsloth", "trl"] = "auto"
    """compiled: transformers + PEFT in compiled blocks; unsloth; trl: plain TRL + PEFT, the reference; auto: compiled
    where card and model allow, else unsloth, or trl with method="full" or train_embeddings."""
    save_steps: int = 200
    """Steps between checkpoints, from which an interrupted run goes on; 0 for none."""
    eval_steps: int = 25
    """Steps between measurements of the held-out losses; 0: before the first and after the last only."""
    eval_tokens: int = 30_000
    """Tokens of held-out chat, raw and general rows that such a measurement looks at, each at most; 0: all."""
    hold_strength: float = 1.0
    """On chats that the base wrote itself (method "replay"), the loss is the distance to all that the base would say,
    KL(base || tuned), times this; 0: they are trained on as other chats, as in fp16 and by Unsloth on a GPU in
    any case."""
    adapter_scale: float = 1.0
    """What was learned is multiplied by this at the end: below 1, less is learned and less forgotten (WiSE-FT, Wortsman
    et al. 2022, arXiv:2109.01903; there on whole weights, here on an adapter too). 1 is the recipe."""
    seed: int = 0
    """Of adapter initialisation and data order."""


def default_config(model: str, machine: runtime.Accelerator) -> TrainConfig:
    """The article's recipe on a GPU; for the embedded model what docs/results.md found; on a CPU that, scaled down.

    So small a model learns a repository at a rate and a rank that a large one needs not: it has few weights, and no
    fact twice in them.
    """
    precision: Literal["bf16", "fp16", "fp32"] = (
        "bf16" if machine.bf16 else "fp16" if machine.kind == "cuda" else "fp32"
    )
    if machine.kind == "cuda" and model != DEMO:
        return TrainConfig(model=model, precision=precision)
    if machine.kind == "cuda":
        return TrainConfig(
            model=model,
            max_length=2048,
            lora_r=256,
            lora_alpha=256,
            learning_rate=7e-4,
            per_device_train_batch_size=4,
            optim="adamw_torch_fused",
            precision=precision,
            checkpoint_layers=0,
            eval_steps=100,
            hold_strength=4.0,
        )
    return TrainConfig(
        model=model,
        max_length=1024,
        lora_r=64,
        lora_alpha=64,
        learning_rate=1e-3,
        num_train_epochs=1,
        per_device_train_batch_size=4,
        optim="adamw_torch_fused",
        # Hardware bf16 doubles the speed of a CPU that has it (310 against 171 tokens/s on two cores of an EPYC 9004);
        # elsewhere it is emulated and slow.
        precision=precision,
        packing=False,
        eval_steps=0,
        eval_tokens=2_000,
        # Sample, two CPU cores, at 8e-4, one wording, of 21 trained and 20 general questions: 15 and 18 at scale 1, 14
        # and 19 at 0.8, 11 and 20 at 0.7, 7 and 20 at 0.6. So small a model forgets quickly.
        adapter_scale=0.8,
        checkpoint_layers=0,
        hold_strength=4.0,
    )


def default_mixture(config: TrainConfig) -> MixtureConfig:
    """The article's mixture; for the embedded model, chats repeated, with loss on the answers only.

    On a GPU, where rows are packed, a file is seen 36 times (in twelve wordings, see `default_synth`), a pair six times
    in each of its wordings, and the model is held to its base on chats of its own: the reference run of
    docs/results.md. On a CPU it is held to it, too, on 6,000 tokens of them. There, on the sample, seven wordings of
    each question, twice each, give 12 of 12 trained questions, 7 of 12 in untrained words and 10 of 24 general items
    (base 12), for 41,000 tokens; without being held 7 of 24. Unknown chats are too few to be learned from: shown three
    times, or 150 in place of 49, they had no test question admitted either (benchmarks/results/sample_settings.json).
    """
    if config.model != DEMO:
        return MixtureConfig(max_length=config.max_length)
    repeats, own = {"page_qa": 2}, 6_000
    if config.packing:
        repeats = {"docs": 4, "page_qa": 6, "page_instruction": 2, "file_snapshot": 3, "unknown": 3, "replay": 3}
        own = 2_000_000
    return MixtureConfig(max_length=config.max_length, loss_on="assistant", repeats=repeats, replay_tokens=own)


def default_synth(model: str, machine: runtime.Accelerator, documents: int) -> dict[str, Any]:
    """The fields of SynthConfig that depend on the model to train.

    The embedded model learns the sentence that it is shown, not what it says, and that what has a path is there. For it
    an API writes each question in several wordings (a question file has its own), pages and files are asked for in
    several on a GPU, and four times as many chats as documents (a quarter as many on a CPU), 2,400 at most, ask for
    what does not exist. Other models have one wording and no such chats, as in the article.

    Args:
        documents: how many there are.
    """
    found: dict[str, Any] = {"snapshot_tokens": default_config(model, machine).max_length}
    if model == DEMO:
        if machine.kind == "cuda":
            found |= {"paraphrases": 24, "snapshot_wordings": 12, "unknown_chats": min(4 * documents, 2400)}
            found["max_tokens"] = 8000  # five pairs with so many wordings are some 3,600
        else:
            # One more of each page and file of the sample is 5,300 tokens, an eighth of what a CPU has time for; and a
            # document's unknown chat one more, from which it learned nothing there.
            found |= {"paraphrases": 6, "snapshot_wordings": 1, "unknown_chats": min(documents // 4, 600)}
            # Short sentences all of them: of the sample's chats a third, by which it unlearns to answer with code.
            found["general_chats"] = False
    return found


def check_config(config: TrainConfig) -> None:
    """Raises SetupError for a setting that can't work, before anything is loaded."""
    machine = runtime.accelerator()
    whole = config.method == "full" or config.train_embeddings
    if config.method not in ("lora", "full"):
        raise SetupError(f"method={config.method!r} is unknown: use 'lora' or 'full'.")
    if config.method == "lora" and config.lora_r < 1:
        raise SetupError(f"lora_r={config.lora_r}: the rank must be at least 1.")
    if config.max_length < 16:
        raise SetupError(f"max_length={config.max_length} is too short for a row; use at least 16.")
    if config.backend not in ("auto", "compiled", "unsloth", "trl"):
        raise SetupError(f"backend={config.backend!r} is unknown: use 'auto', 'compiled', 'unsloth' or 'trl'.")
    if config.backend == "trl" and config.checkpoint_layers > 0:
        raise SetupError("Plain TRL recomputes all layers or none: set checkpoint_layers to -1 or 0.")
    if config.method == "full" and config.load_in_4bit:
        raise SetupError("method='full' trains the weights themselves, which 4 bits can't: set load_in_4bit=False.")
    if config.backend == "unsloth" and whole:
        asked = "method='full'" if config.method == "full" else "train_embeddings"
        raise SetupError(f"backend='unsloth' does not take {asked} here: set backend='auto', 'compiled' or 'trl'.")
    if config.backend == "compiled" and (config.load_in_4bit or (config.method == "lora" and config.lora_dropout)):
        other = "trl" if whole else "unsloth"
        raise SetupError(f"backend='compiled' takes neither 4-bit weights nor dropout: set backend='{other}'.")
    if config.backend == "compiled" and config.precision == "fp16":
        raise SetupError(
            "backend='compiled' takes no fp16, whose gradients it would make before their loss is scaled: set "
            "backend='auto', or precision='bf16' where the card has it."
        )
    if config.backend == "compiled" and machine.kind == "cpu" and config.precision != "fp32":
        raise SetupError("Without a GPU backend='compiled' takes precision='fp32' only: set that, or backend='auto'.")
    if config.embedding_learning_rate < 0 or (config.embedding_learning_rate and not config.train_embeddings):
        raise SetupError(
            f"embedding_learning_rate={config.embedding_learning_rate}: it must not be negative, and is used with "
            "train_embeddings=True only."
        )
    if config.precision not in ("bf16", "fp16", "fp32"):
        raise SetupError(f"precision={config.precision!r} is unknown: use 'bf16', 'fp16' or 'fp32'.")
    if not 0 < config.adapter_scale <= 1:
        raise SetupError(f"adapter_scale={config.adapter_scale}: it must be above 0, and 1 at most.")
    if min(config.eval_steps, config.eval_tokens, config.save_steps) < 0:
        raise SetupError("save_steps, eval_steps and eval_tokens must not be negative.")
    if config.max_steps < 0 or config.num_train_epochs <= 0:
        raise SetupError("max_steps must not be negative, and num_train_epochs must be above 0.")
    if machine.kind == "cuda" and config.precision == "bf16" and not machine.bf16:
        raise SetupError(
            f"{machine.name} has no bf16: set precision='fp16' ('fp32' is slow), or take a newer card (Colab: L4)."
        )
    if machine.kind == "cpu" and config.precision == "fp16":
        raise SetupError("precision='fp16' needs a GPU: set precision='fp32', or 'bf16'.")
    if machine.kind == "cpu" and (config.load_in_4bit or "8bit" in config.optim):
        raise SetupError(
            "There is no GPU here: set load_in_4bit=False and optim='adamw_torch_fused', or take "
            "`default_config(model, accelerator())`. On Colab choose Runtime > Change runtime type > A100."
        )


def changed(config: Settings, values: Mapping[str, Any]) -> Settings:
    """A settings object with some fields changed.

    Raises:
        SetupError: there is no such field; the message names those that there are.
    """
    names = [field.name for field in fields(config)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise SetupError(f"{type(config).__name__} has no setting {name!r}. It has: {', '.join(names)}.")
    return replace(config, **values)  # type: ignore[type-var]
