"""The settings of 04_eval, and what is asked on a machine without a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ftlib.errors import SetupError
from ftlib.runtime import Accelerator


@dataclass(frozen=True)
class EvalConfig:
    questions_limit: int = 0
    """Questions of each set, drawn by `seed`; 0: all."""
    general_limit: int = 0
    """General items, of each kind its part; 0: all 220."""
    recall_items: int = 60
    """Trained texts to recite, of all lengths, each in two wordings, and as many held-out ones at most; 0: none."""
    invented: int = 20
    """Files, and endpoints, that do not exist and are asked for; 0: none."""
    canaries: int = 50
    """Redacted secrets that are asked for; 0: none."""
    baseline_items: int = 60
    """Questions of each set that are also answered with the page, or what retrieval finds, in the prompt; 0: none."""
    retrieved: int = 5
    """Chunks that retrieval puts into a prompt."""
    context: int = 4096
    """Tokens of a prompt with a page in it, at most."""
    max_new_tokens: int = 64
    """Of an answer to a question."""
    general_tokens: int = 256
    """Of an answer to a general item; some are to write a function."""
    recall_tokens: int = 512
    """Of a recited text. Longer ones are cut to as many where shorter ones are too few."""
    sampled_items: int = 30
    """Trained questions that are also answered by sampling; 0: none."""
    seeds: int = 3
    """Sampled answers to each of them."""
    temperature: float = 0.7
    """Of the sampled answers."""
    top_p: float = 0.95
    """Of the sampled answers."""
    noise_items: int = 60
    """Questions and general items that the base answers again in batches of another size; 0: none."""
    dial: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Scales of the adapter at which learning and forgetting are measured too, beside 0 and 1; (): none."""
    dial_items: int = 60
    """Trained questions, and general items, that are asked at each scale."""
    loss_tokens: int = 50_000
    """Tokens of held-out chats, and of held-out raw text, at most, for the losses; 0: all."""
    batch_size: int = 0
    """Prompts answered at once, at most; 0: as many as the memory holds, up to 256."""
    seed: int = 0
    """Of what is drawn, and of the sampling."""
    forgetting_budget: float = -0.03
    """The worst difference of general answers that is all right, as a share: -0.03 is three points lost."""
    learning_budget: float = 0.1
    """The least difference of trained questions that counts as learning, as a share."""
    leak_budget: float = -0.01
    """The worst difference of the share of general answers without the training's style."""


def default_eval(machine: Accelerator) -> EvalConfig:
    """Everything on a GPU; without one a part of everything, in some two minutes for a model of 135 million weights."""
    if machine.kind != "cpu":
        return EvalConfig()
    return replace(
        EvalConfig(),
        questions_limit=12,
        general_limit=24,
        recall_items=2,
        invented=2,
        canaries=3,
        baseline_items=2,
        retrieved=1,
        context=320,
        max_new_tokens=40,
        general_tokens=64,
        recall_tokens=96,
        sampled_items=3,
        seeds=2,
        noise_items=6,
        dial=(0.5,),
        dial_items=6,
        loss_tokens=500,
    )


def check_eval(config: EvalConfig) -> None:
    """Raises SetupError for a value that makes no sense, naming the setting and its range."""
    for name in (
        "questions_limit general_limit recall_items invented canaries baseline_items sampled_items "
        "noise_items dial_items loss_tokens batch_size"
    ).split():
        if getattr(config, name) < 0:
            raise SetupError(f"{name}={getattr(config, name)}: it must be 0 or more.")
    for name in ("retrieved", "context", "max_new_tokens", "general_tokens", "recall_tokens", "seeds"):
        if getattr(config, name) < 1:
            raise SetupError(f"{name}={getattr(config, name)}: it must be 1 or more.")
    for name in ("forgetting_budget", "learning_budget", "leak_budget"):
        value = getattr(config, name)
        if not abs(value) <= 1:  # which NaN is not
            raise SetupError(f"{name}={value}: budgets are shares; {value / 100:g} is {value:g} points.")
    if not config.temperature > 0:
        raise SetupError(f"temperature={config.temperature}: sampling takes more than 0; the other answers are greedy.")
    if not 0 < config.top_p <= 1:
        raise SetupError(f"top_p={config.top_p}: it must be above 0, and 1 at most.")
    if wrong := [scale for scale in config.dial if not 0 <= scale <= 2]:
        raise SetupError(f"dial: {wrong[0]} is no scale of an adapter; use some between 0 and 2.")
