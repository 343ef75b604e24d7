"""Real tokenizers of every kind that ftlib meets, made from the vocabularies that the installed packages carry.

The templates of Llama 3, Qwen and Gemma are the models' own, as TRL carries them. The vocabularies of those models are
not on any package index: SmolLM2's and Mistral's stand in, with the special tokens, normalizers, pre-tokenizers and
post-processors of the model in question, which is where tokenizers differ.
"""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

# Mistral 7B Instruct v0.2's own chat template.
MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
# Llama 2's: a BOS and an EOS round each exchange, the system prompt inside the first.
LLAMA2_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set turns = messages %}{% set system = false %}{% endif %}{% for message in turns %}"
    "{% if loop.index0 == 0 and system != false %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
TEKKEN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST]' + message['content'] + '[/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('no system prompt') }}{% endif %}{% endfor %}"
)
KINDS = ("smollm", "mistral", "mistral_v3", "llama2", "llama3", "qwen3", "gemma", "tekken")


def mistral_data(name: str) -> Path:
    import mistral_common

    return Path(mistral_common.__file__).parent / "data" / name


def mistral(folder: Path, file: str = "tokenizer.model.v1") -> Any:
    """A model folder as a hub holds it, with the SentencePiece file and no tokenizer.json."""
    from ftlib.models import load_tokenizer

    shutil.copy(mistral_data(file), folder / "tokenizer.model")
    config = {"add_bos_token": True, "tokenizer_class": "LlamaTokenizer", "chat_template": MISTRAL_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    return load_tokenizer(str(folder))


def trl_template(name: str) -> str:
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _wrap(backend: Any, template: str, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=template, **special)


def _before(bos: str, backend: Any, *more: Any) -> Any:
    """A post-processor that puts a BOS before a text."""
    from tokenizers import processors

    template = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))])
    return processors.Sequence([*more, template]) if more else template


def llama2(v1: Any) -> Any:
    """As the tokenizer.json of Llama 2 and Mistral 7B on the hub: a prefix before every piece, by a normalizer."""
    from tokenizers import normalizers

    backend = copy.deepcopy(v1.backend_tokenizer)
    backend.pre_tokenizer = None
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _wrap(backend, LLAMA2_TEMPLATE, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def llama3(smollm: Any) -> Any:
    """Byte-level BPE with a BOS, and a post-processor that trims the offsets of " word"."""
    from tokenizers import processors

    backend = copy.deepcopy(smollm.backend_tokenizer)
    backend.add_special_tokens(["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    backend.post_processor = _before("<|begin_of_text|>", backend, processors.ByteLevel(trim_offsets=True))
    return _wrap(backend, trl_template("llama3"), bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def qwen3(smollm: Any) -> Any:
    """Byte-level BPE that normalises to NFC, with added tokens that are not special."""
    from tokenizers import AddedToken, normalizers

    backend = copy.deepcopy(smollm.backend_tokenizer)
    backend.normalizer = normalizers.NFC()
    backend.add_tokens([AddedToken(word, normalized=False) for word in ("<think>", "</think>", "<tool_call>")])
    return _wrap(backend, trl_template("qwen3"), eos_token="<|im_end|>", pad_token="<|endoftext|>")


def gemma(v1: Any) -> Any:
    """SentencePiece without a prefix, its turns marked by tokens, system prompts refused."""
    from tokenizers import normalizers, pre_tokenizers

    backend = copy.deepcopy(v1.backend_tokenizer)
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.add_special_tokens(["<start_of_turn>", "<end_of_turn>"])
    backend.post_processor = _before("<s>", backend)
    return _wrap(backend, trl_template("gemma"), bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def tekken() -> Any:
    """Mistral's byte-level tokenizer, with the BOS that the hub's tokenizer.json adds."""
    from transformers.integrations.mistral import convert_tekken_tokenizer

    found = convert_tekken_tokenizer(str(mistral_data("tekken_240911.json")))
    backend = found.backend_tokenizer
    backend.post_processor = _before("<s>", backend)
    found.chat_template = TEKKEN_TEMPLATE
    return found


def conversation(texts: list[str]) -> list[dict[str, str]]:
    """Messages of user and assistant by turns."""
    return [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
