"""Which backend takes a model, and which attention Unsloth's packed rows get."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from ftlib.runtime import Accelerator
from ftlib.settings import TrainConfig
from ftlib.training import backends

A100 = Accelerator("cuda", "NVIDIA A100-SXM4-40GB", 39.6, 1, True)
CPU = Accelerator("cpu", "CPU", 0.0, 0, True)


@pytest.mark.parametrize(
    ("change", "machine", "model_type", "backend", "why"),
    [
        ({}, A100, "mistral", "compiled", "the fastest"),
        ({}, CPU, "mistral", "unsloth", "no GPU"),
        ({}, replace(A100, bf16=False), "mistral", "unsloth", "no bf16"),
        ({"load_in_4bit": True}, A100, "mistral", "unsloth", "no 4-bit"),
        ({"lora_dropout": 0.1}, A100, "mistral", "unsloth", "no dropout"),
        ({}, A100, "gemma3", "unsloth", "type gemma3"),
        ({"precision": "fp16"}, A100, "mistral", "unsloth", "no fp16"),
        ({"method": "full"}, A100, "mistral", "compiled", "the fastest"),
        ({"method": "full", "lora_dropout": 0.1}, A100, "mistral", "compiled", "the fastest"),
        ({"method": "full"}, CPU, "mistral", "trl", "no GPU"),
        ({"method": "full"}, A100, "gemma3", "trl", "type gemma3"),
        ({"train_embeddings": True}, replace(A100, bf16=False), "mistral", "trl", "no bf16"),
        ({"train_embeddings": True, "load_in_4bit": True}, A100, "mistral", "trl", "no 4-bit"),
        ({"backend": "trl"}, A100, "mistral", "trl", "asked for"),
        ({"backend": "compiled"}, CPU, "mistral", "compiled", "asked for"),
    ],
)
def test_the_backend_is_chosen_by_card_and_model(monkeypatch, change, machine, model_type, backend, why):
    monkeypatch.setattr(backends, "config_of", lambda name: SimpleNamespace(model_type=model_type))
    found, reason = backends.choose(replace(TrainConfig(), **change), machine)
    assert found == backend and why in reason


def unsloth(monkeypatch, **dispatch):
    """Unsloth's module of attention paths, with what a release has of it."""
    module = ModuleType("unsloth.utils.attention_dispatch")
    vars(module).update({"HAS_FLASH_ATTENTION": False, "HAS_XFORMERS": False, "_TORCH_VARLEN_ATTN": None, **dispatch})
    utils = ModuleType("unsloth.utils")
    vars(utils)["attention_dispatch"] = module
    monkeypatch.setitem(sys.modules, "unsloth", ModuleType("unsloth"))
    monkeypatch.setitem(sys.modules, "unsloth.utils", utils)
    monkeypatch.setitem(sys.modules, "unsloth.utils.attention_dispatch", module)
    return module


def test_unsloth_gets_the_kernel_that_it_asks_a_newer_torch_for(monkeypatch):
    lean = SimpleNamespace(apply=lambda *args: args)
    module = unsloth(monkeypatch, _LeanFlashVarlen=lean, _varlen_attn_call=None)
    assert backends._mend_packed_attention() == "torch varlen, by ftlib"
    assert module._TORCH_VARLEN_ATTN is not None
    for window, causal in (((-1, 0), True), ((-1, -1), False), ((31, 0), False)):
        got = module._varlen_attn_call("q", "k", "v", "ends", 64, scale=0.5, window_size=window, enable_gqa=True)
        assert got == ("q", "k", "v", "ends", 64, causal, 0.5, *window)


@pytest.mark.parametrize(
    ("has", "attention"),
    [
        ({"HAS_FLASH_ATTENTION": True}, "flash-attn"),
        ({"HAS_XFORMERS": True}, "xformers"),
        ({"_TORCH_VARLEN_ATTN": len}, "torch varlen"),
        ({}, "sdpa, one call a document"),
        ({"_LeanFlashVarlen": object}, "sdpa, one call a document"),
    ],
)
def test_a_path_that_is_there_is_left(monkeypatch, has, attention):
    module = unsloth(monkeypatch, **has)
    before = dict(vars(module))
    assert backends._mend_packed_attention() == attention and vars(module) == before
