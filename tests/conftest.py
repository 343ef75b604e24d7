"""Real tokenizers and a model small enough to train in a second."""

import json
import os
import shutil
from pathlib import Path

import pytest

# Set before huggingface_hub is imported: nothing here needs the network.
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", UNSLOTH_DISABLE_STATISTICS="1")

# Mistral 7B Instruct v0.2's own chat template.
MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="session")
def smollm():
    """The embedded model's tokenizer: byte-level BPE, no BOS, ChatML."""
    from ftlib.models import load_tokenizer

    return load_tokenizer("demo")


@pytest.fixture(scope="session")
def mistral(tmp_path_factory):
    """Mistral 7B Instruct v0.2's tokenizer: SentencePiece with byte fallback, BOS, `[INST]` as text."""
    import mistral_common
    from transformers import LlamaTokenizer

    folder = tmp_path_factory.mktemp("mistral")
    shutil.copy(Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1", folder / "tokenizer.model")
    config = {"add_bos_token": True, "tokenizer_class": "LlamaTokenizer", "chat_template": MISTRAL_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return LlamaTokenizer.from_pretrained(folder)


@pytest.fixture(params=["smollm", "mistral"], scope="session")
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tiny_model(smollm, tmp_path_factory):
    """A folder with a random two-layer Llama and the embedded model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    folder = tmp_path_factory.mktemp("tiny-llama")
    config = LlamaConfig(
        vocab_size=len(smollm),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=smollm.bos_token_id,
        eos_token_id=smollm.eos_token_id,
        pad_token_id=smollm.pad_token_id,
    )
    set_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    smollm.save_pretrained(folder)
    return folder
