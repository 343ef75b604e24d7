"""lm-eval on both arms: the real package, tasks of our own. Where it is not installed, only its absence is tested."""

from __future__ import annotations

import copy
import json
import sys
from functools import partial

import pytest
import torch
from runs import make_run

from ftlib.errors import SetupError
from ftlib.evaluation.harness import lm_eval_rows
from ftlib.inference import arm, load_arms, token_loss

TEXTS = ["The message bus of brindlewick is NATS.", "Two and two are four.", "Snow is white, and water is wet."]
PERPLEXITY = """\
task: texts
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: byte_perplexity}]
"""
CHOICES = """\
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "Which of them?"
doc_to_choice: "{{[text, 'nothing', 'something else']}}"
doc_to_target: 0
metric_list: [{metric: acc}]
"""
WORDS = """\
task: words
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{text}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list: [{metric: exact_match}]
filter_list: [{name: whole, filter: [{function: take_first}]}]
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    # A second each time, for what is not read.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda storage: None)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    for name, text in (("texts", PERPLEXITY), ("choices", CHOICES), ("words", WORDS)):
        (tmp_path / f"{name}.yaml").write_text(text % texts)
    return tmp_path


def arms(tmp_path, tiny_model, noise):
    make_run(tmp_path / "run", tiny_model, noise=noise)
    return load_arms(tmp_path / "run")[:2]


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(SetupError, match="pip install lm-eval"):
        lm_eval_rows(None, None, ["arc_easy"])


def test_the_arms_scores_are_their_own(tasks, tiny_model, one_thread):
    model, tokenizer = arms(tasks, tiny_model, 1.0)
    tokenizer.pad_token = None
    before = tokenizer.backend_tokenizer.to_str(), tokenizer.padding_side, copy.copy(tokenizer.special_tokens_map)
    (row,) = lm_eval_rows(model, tokenizer, [str(tasks / "texts.yaml")], limit=2, bootstrap_iters=0)
    assert (row["task"], row["metric"]) == ("texts", "byte_perplexity")
    assert row["base_stderr"] is row["tuned_stderr"] is None
    # lm-eval begins a text with the BOS: all of its tokens are predicted.
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS[:2]]
    rows = [{"input_ids": [tokenizer.bos_token_id, *ids], "labels": [-100, *ids]} for ids in encoded]
    for name in ("base", "tuned"):
        with arm(model, name):
            nll = token_loss(model, rows, 0)["nll"]
        length = sum(len(text.encode()) for text in TEXTS[:2])
        assert row[name] == pytest.approx(torch.tensor(nll / length).exp().item(), rel=1e-4)
    assert row["difference"] == row["tuned"] - row["base"] != 0
    after = tokenizer.backend_tokenizer.to_str(), tokenizer.padding_side, tokenizer.special_tokens_map
    assert after == before and "tie_weights" not in vars(model)


def test_an_adapter_that_does_nothing_changes_nothing(tasks, tiny_model, one_thread):
    model, tokenizer = arms(tasks, tiny_model, 0.0)
    names = [str(tasks / f"{name}.yaml") for name in ("choices", "words")]
    choices, words = lm_eval_rows(model, tokenizer, names, batch_size=2)
    assert (choices["task"], choices["metric"]) == ("choices", "acc") and 0 <= choices["base"] <= 1
    assert (words["task"], words["metric"]) == ("words", "exact_match,whole")
    for row in (choices, words):
        assert row["base"] == row["tuned"] and row["difference"] == 0
        assert row["base_stderr"] == row["tuned_stderr"] and row["base_stderr"] is not None


def test_an_unknown_task_is_named(tasks, tiny_model, monkeypatch, one_thread):
    import lm_eval.tasks

    # Without the 15,000 of its own, which take ten seconds to be read.
    small = partial(lm_eval.tasks.TaskManager, include_path=tasks)
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda include_defaults: small(include_defaults=False))
    model, tokenizer = arms(tasks, tiny_model, 1.0)
    with pytest.raises(SetupError, match="no task 'choises'.*choices"):
        lm_eval_rows(model, tokenizer, ["texts", "choises"])
    assert [row["task"] for row in lm_eval_rows(model, tokenizer, ["texts"], bootstrap_iters=0)] == ["texts"]


def test_embedding_and_head_trained_together(tasks, tiny_model, one_thread):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from ftlib.models import load_tokenizer

    base = LlamaForCausalLM(LlamaConfig.from_pretrained(tiny_model, tie_word_embeddings=True))
    ends = {"modules_to_save": ["embed_tokens", "lm_head"], "ensure_weight_tying": True}
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], **ends)).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2)
    (row,) = lm_eval_rows(model, load_tokenizer(str(tiny_model)), [str(tasks / "texts.yaml")], bootstrap_iters=0)
    assert row["difference"] != 0
