"""Which backend takes a model on this machine, and the model with a fresh adapter, by each of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ftlib import runtime
from ftlib.adapters import DTYPES, base_skeleton
from ftlib.errors import SetupError
from ftlib.models import load_tokenizer, model_not_found, model_path
from ftlib.training import compiled, whole
from ftlib.training.estimates import recomputed

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def choose(config: TrainConfig, machine: runtime.Accelerator | None = None) -> tuple[str, str]:
    """The backend, and why it: "compiled", "unsloth" or "trl". Without `machine`, for the one at hand.

    Asked for "auto": compiled blocks on a GPU that multiplies bf16 (they are the fastest, benchmarks/train.py), where
    they know the model and its weights are 16 bits wide; else Unsloth, or plain TRL for weights that are trained whole
    and where several processes share a run: Unsloth 2026.10 has patches of its own for DDP and for the loss of a step,
    which nobody has compared with one process here.
    """
    if config.backend != "auto":
        return config.backend, "asked for"
    reason = _why_not_compiled(config, machine or runtime.accelerator())
    if not reason:
        return "compiled", "the fastest here"
    if runtime.processes() > 1:
        return "trl", f"{reason}; Unsloth is not tested with several processes"
    return "trl" if whole.is_whole(config) else "unsloth", reason


def _why_not_compiled(config: TrainConfig, machine: runtime.Accelerator) -> str:
    if machine.kind != "cuda":
        return "there is no GPU for compiled blocks"
    if not machine.bf16:
        return f"{machine.name} has no bf16"
    if config.precision == "fp16":
        return "compiled blocks take no fp16"
    if config.load_in_4bit:
        return "compiled blocks take no 4-bit weights"
    if config.method == "lora" and config.lora_dropout:
        return "compiled blocks take no dropout"
    reason = compiled.obstacle(config_of(config.model), config.max_length)
    return f"compiled blocks don't fit: {reason}" if reason else ""


def config_of(name: str) -> Any:
    """What a model's config.json says, as attributes.

    Not by transformers: Unsloth, which may be chosen by it, must be imported before.
    """
    path = model_path(name)
    try:
        if not Path(path).is_dir():
            from huggingface_hub import hf_hub_download

            file = hf_hub_download(path, "config.json")
        else:
            file = str(Path(path) / "config.json")
        return SimpleNamespace(**json.loads(Path(file).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise model_not_found(name, error) from error


def load(config: TrainConfig) -> tuple[Any, dict[str, Any]]:
    """The base with a fresh adapter on it, and which path it takes: backend, why, and what was done for speed.

    Raises:
        SetupError: a missing package, a model that can't be loaded, or one that the backend asked for can't train.
    """
    backend, why = choose(config)
    # Unsloth patches transformers, trl and peft, and must come before them.
    FastLanguageModel = _unsloth() if backend == "unsloth" else None
    import torch

    on_gpu = torch.cuda.is_available()
    dtype = getattr(torch, DTYPES[config.precision if on_gpu else "fp32"])
    lora = {
        "r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "use_rslora": config.use_rslora,
        "target_modules": list(PROJECTIONS),
        "bias": "none",
    }
    path: dict[str, Any] = {"backend": backend, "why": why}
    if backend == "compiled" and (reason := compiled.obstacle(config_of(config.model), config.max_length)):
        other = "trl" if whole.is_whole(config) else "unsloth"
        raise SetupError(f"backend='compiled' can't train {config.model}: {reason}. Set backend='{other}'.")
    try:
        if config.method == "full":
            whole.check_size(config, sum(weight.numel() for weight in base_skeleton(config.model).parameters()))
        if FastLanguageModel is not None:
            model = _unsloth_model(FastLanguageModel, config, dtype, lora)
            path["attention"] = _mend_packed_attention() if on_gpu else "sdpa"
        else:
            model = _plain_model(config, dtype, lora, checkpointing=backend == "trl" and config.checkpoint_layers != 0)
            path["attention"] = model.config._attn_implementation
    except OSError as error:
        raise model_not_found(config.model, error) from error
    if backend == "compiled":
        path |= compiled.prepare(model, recomputed(config, model.config.num_hidden_layers))
        path["attention"] = "flex_attention, sdpa where a sequence is one document" if on_gpu else "sdpa with a mask"
    return model, path


def _unsloth() -> Any:
    try:
        from unsloth import FastLanguageModel
    except ImportError as error:
        raise SetupError(
            f"Unsloth can't be imported ({error}). `pip install 'ftlib[unsloth]'`, or set backend='trl'."
        ) from error
    return FastLanguageModel


def _unsloth_model(FastLanguageModel: Any, config: TrainConfig, dtype: Any, lora: dict[str, Any]) -> Any:
    model, _ = FastLanguageModel.from_pretrained(
        model_path(config.model),
        max_seq_length=config.max_length,
        dtype=dtype,
        load_in_4bit=config.load_in_4bit,
    )
    layers = model.config.num_hidden_layers
    again = recomputed(config, layers)
    if 0 < again < layers:  # its CPU backend knows no such setting
        lora = {**lora, "checkpoint_skip_layers": layers - again}
    return FastLanguageModel.get_peft_model(
        model,
        use_gradient_checkpointing="unsloth" if again else False,
        random_state=config.seed,
        max_seq_length=config.max_length,
        **lora,
    )


def _mend_packed_attention() -> str:
    """Give Unsloth torch's own variable-length kernel where torch has it and Unsloth does not take it.

    Without flash-attn and xformers, Unsloth 2026.10 asks torch's `varlen_attn` for `enable_gqa`, which came with torch
    2.12. On 2.11, Colab's, it falls back to one SDPA call a document and layer, which the host can't launch as fast as
    the card runs them: 14,000 launches a step. The kernel below, which it takes on newer ones, knows grouped heads.

    Returns:
        the attention that packed rows take.
    """
    try:
        from unsloth.utils import attention_dispatch as dispatch
    except ImportError:
        return "Unsloth's"
    if getattr(dispatch, "HAS_FLASH_ATTENTION", False):
        return "flash-attn"
    if getattr(dispatch, "HAS_XFORMERS", False):
        return "xformers"
    if getattr(dispatch, "_TORCH_VARLEN_ATTN", None) is not None:
        return "torch varlen"
    lean = getattr(dispatch, "_LeanFlashVarlen", None)
    if lean is None or not hasattr(dispatch, "_varlen_attn_call"):
        return "sdpa, one call a document"

    def call(q: Any, k: Any, v: Any, ends: Any, longest: int, *, scale: Any, window_size: Any, enable_gqa: bool) -> Any:
        return lean.apply(q, k, v, ends, longest, window_size == (-1, 0), scale, *window_size)

    dispatch._TORCH_VARLEN_ATTN, dispatch._varlen_attn_call = call, call
    return "torch varlen, by ftlib"


def load_base(config: TrainConfig) -> tuple[Any, Any]:
    """The base alone, as it is trained on, in eval mode; and its tokenizer.

    Raises:
        SetupError: it can't be loaded.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    try:
        base = _plain_base(config, getattr(torch, DTYPES[config.precision if on_gpu else "fp32"]))
    except OSError as error:
        raise model_not_found(config.model, error) from error
    return base.eval(), load_tokenizer(config.model, config.chat_template)


def _plain_base(config: TrainConfig, dtype: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    extra = {}
    if config.load_in_4bit:
        extra["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
        )
    # With torchrun or accelerate launch, each process has the card of its rank.
    device = {"": torch.cuda.current_device()} if torch.cuda.is_available() else None
    return AutoModelForCausalLM.from_pretrained(model_path(config.model), dtype=dtype, device_map=device, **extra)


def _plain_model(config: TrainConfig, dtype: Any, lora: dict[str, Any], checkpointing: bool) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    base = _plain_base(config, dtype)
    if checkpointing:
        base.enable_input_require_grads()
    set_seed(config.seed)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **whole.lora_options(config, base, lora)))
    whole.prepare(model, config)
    return model
