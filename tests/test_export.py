"""ftlib.export: a merged model that answers as the adapter does, a check that notices when it does not, and refusals
before anything wrong is written, converted or uploaded.

PEFT's own merge is the reference for weights, and the adapter on the base for answers.
"""

from __future__ import annotations

import base64
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ftlib import adapters, export
from ftlib.adapters import check_base, read_adapter
from ftlib.errors import SetupError
from ftlib.export import gguf, main, merge, publish, push
from ftlib.generation import generate
from ftlib.models import load_tokenizer
from ftlib.workspace import read_json, write_json, write_jsonl, write_manifest

PROMPTS = ["Hi", "What is the message bus of brindlewick called, please?", "x " * 40]
TARGETS = ["q_proj", "down_proj"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(str(tiny_model))


@pytest.fixture(autouse=True)
def quick(tokenizer, monkeypatch):
    """Short answers, one tokenizer for all, and no search through all of pytest's objects after each model."""
    monkeypatch.setattr(export, "ANSWER_TOKENS", 12)
    monkeypatch.setattr(export, "load_tokenizer", lambda *_: tokenizer)
    monkeypatch.setattr(export, "gc", SimpleNamespace(collect=lambda: 0))
    for name in ("HF_TOKEN", "LLAMA_CPP"):
        monkeypatch.delenv(name, raising=False)


def variant(tiny_model, folder, **changed):
    """The tiny model with another config, and weights drawn anew."""
    from transformers import AutoModelForCausalLM, LlamaConfig, set_seed

    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = LlamaConfig.from_pretrained(tiny_model, **changed)
    set_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def make_run(folder, base, *, settings=None, model=None, **lora):
    """A finished run whose adapter does a lot: all that it trains is random."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    peft = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(**{"r": 4, "target_modules": TARGETS, **lora})
    )
    torch.manual_seed(0)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name or "lora_embedding_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.1 if "modules_to_save" in name else 1.0)
    peft.peft_config["default"].base_model_name_or_path = model or "demo"  # as save_run: the name, not the path
    peft.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    write_json(folder / "settings.json", {"model": str(base), **(settings or {})})
    write_manifest(folder, stage="03_train", settings={})
    return folder


@pytest.fixture(scope="module")
def tied(tiny_model, tmp_path_factory):
    return variant(tiny_model, tmp_path_factory.mktemp("tied") / "model", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def plain(tiny_model, tmp_path_factory):
    """A run that no test changes, and what its merge in bf16 is."""
    run = make_run(tmp_path_factory.mktemp("workspace") / "runs" / "plain", tiny_model)
    record = merge(run, dtype="bf16", prompts=PROMPTS)
    return run, record


@pytest.fixture
def run(plain, tmp_path):
    """A copy of that run, without the merged folder."""
    return Path(shutil.copytree(plain[0], tmp_path / "runs" / "copy", ignore=shutil.ignore_patterns("merged")))


# --- merging ----------------------------------------------------------------------------------------------------------

BOTH = ["embed_tokens", "lm_head"]


@pytest.mark.parametrize(
    "base, lora, still_tied",
    [
        ("tiny_model", {}, False),
        ("tiny_model", {"use_rslora": True, "lora_alpha": 3}, False),
        ("tiny_model", {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.down_proj": 32}}, False),
        ("tiny_model", {"modules_to_save": BOTH}, False),
        ("tied", {}, True),
        ("tied", {"modules_to_save": ["lm_head"]}, False),
        ("tied", {"target_modules": ["q_proj", "embed_tokens"]}, False),
        ("tied", {"modules_to_save": BOTH, "ensure_weight_tying": True}, True),
    ],
)
def test_in_fp32_the_merged_model_is_pefts_and_answers_as_the_adapter(
    base, lora, still_tied, request, tmp_path, tokenizer
):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = request.getfixturevalue(base)
    run = make_run(tmp_path / "run", base, **lora)
    record = merge(run, dtype="fp32", prompts=PROMPTS)
    assert (record["agree"], record["of"], record["tied"]) == (3, 3, still_tied)
    assert record["max_logprob_difference"] < 1e-4 and record["computed_in"] == "fp32 on cpu"
    # Not by export's own hand: ftlib's batched answers, and PEFT's weights.
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "adapter").eval()
    merged = AutoModelForCausalLM.from_pretrained(run / "merged").eval()
    both = [generate(one, tokenizer, PROMPTS, max_new_tokens=12, batch_size=3) for one in (model, merged)]
    assert both[0] == both[1]
    theirs, ours = model.merge_and_unload().state_dict(), merged.state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


def test_in_bf16_every_weight_is_rounded_once_and_the_difference_is_recorded(plain, tiny_model):
    run, record = plain
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, run / "merged"))
    lora = load_file(run / "adapter" / "adapter_model.safetensors")
    assert set(after) == set(before) and {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    changed = set()
    for name, weight in before.items():
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{prefix}.lora_A.weight" in lora:
            changed.add(name)
            weight = weight + 2.0 * (lora[f"{prefix}.lora_B.weight"] @ lora[f"{prefix}.lora_A.weight"])
        assert torch.equal(after[name], weight.bfloat16())
    assert len(changed) == 4
    assert 0 < record["mean_logprob_difference"] < record["max_logprob_difference"] < 0.5
    assert record == read_json(run / "merged" / "export.json") and record["dtype"] == "bf16"
    for row in record["prompts"]:
        assert row["same"] == (row["adapter"] == row["merged"]) == (row["first_difference"] is None)


def test_others_can_read_the_folder(plain, tiny_model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = plain[0] / "merged"
    ours, theirs = AutoTokenizer.from_pretrained(merged), load_tokenizer(str(tiny_model))
    assert ours.chat_template == theirs.chat_template and ours.eos_token_id == theirs.eos_token_id
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert model.dtype == torch.bfloat16 and model.generation_config.eos_token_id == ours.eos_token_id
    assert {path.stat().st_mode & 0o777 for path in merged.iterdir()} == {0o644}
    publish.refuse_paths_of_this_machine(merged)


def test_the_end_of_a_turn_ends_an_answer_where_the_base_stops_elsewhere(run, tiny_model, tmp_path):
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    write_json(base / "generation_config.json", {"eos_token_id": 0, "temperature": 0.6, "do_sample": True})
    write_json(run / "settings.json", {"model": str(base)})
    merge(run, prompts=PROMPTS[:1])
    found = read_json(run / "merged" / "generation_config.json")
    assert found == {"eos_token_id": [0, 2], "temperature": 0.6, "do_sample": True}


def test_a_wrong_scale_is_found_and_not_hidden(run, monkeypatch, capsys):
    right = adapters.scale
    monkeypatch.setattr(adapters, "scale", lambda *of: 1.1 * right(*of))
    record = merge(run, dtype="fp32", prompts=PROMPTS)
    assert record["agree"] < record["of"] == 3
    assert record["max_logprob_difference"] > 0.01  # 1e-6 with the right one
    apart = [row for row in record["prompts"] if not row["same"]]
    assert all(row["adapter"] != row["merged"] and 0 <= row["first_difference"] < 12 for row in apart)
    line = f"DIFFER in {len(apart)} of 3 answers"
    assert line in capsys.readouterr().out and line in (run / "merged" / "README.md").read_text()


def test_the_first_difference_is_where_the_answers_part(smollm):
    told = [{"tokens": [5, 6, 7], "logprobs": [-1.0, -2.0, -3.0]}, {"tokens": [5, 2], "logprobs": [-1.0, -1.0]}]
    found = [{"tokens": [5, 9, 7], "logprobs": [-1.0, -2.5, -2.0]}, {"tokens": [5, 2], "logprobs": [-1.0, -1.0]}]
    record = export._compare(smollm, ["a", "b"], told, found)
    assert (record["agree"], record["of"], record["max_logprob_difference"]) == (1, 2, 1.0)
    assert record["mean_logprob_difference"] == pytest.approx(1.5 / 5)
    assert [row["first_difference"] for row in record["prompts"]] == [1, None]
    assert record["prompts"][0]["mean_logprob_difference"] == pytest.approx(0.5)
    told[0]["tokens"], found[0]["tokens"] = [5, 6, 7], [5, 6]
    assert export._compare(smollm, ["a", "b"], told, found)["prompts"][0]["first_difference"] == 2


def test_shards_hold_the_same_weights(plain, run, monkeypatch):
    monkeypatch.setattr(adapters, "SHARD_BYTES", 2**20)
    merge(run, prompts=PROMPTS[:1])  # the check loads them
    merged = run / "merged"
    index = read_json(merged / "model.safetensors.index.json")
    files = sorted(path.name for path in merged.glob("*.safetensors"))
    assert len(files) == 3 and files == sorted(set(index["weight_map"].values()))
    whole = load_file(plain[0] / "merged" / "model.safetensors")
    parts = {name: tensor for file in files for name, tensor in load_file(merged / file).items()}
    assert set(parts) == set(whole) == set(index["weight_map"])
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())


@pytest.mark.parametrize("moment", ["save_file", "_compare"])
def test_an_interrupted_merge_leaves_nothing_and_a_former_export_stays(run, monkeypatch, moment):
    class Stopped(BaseException):
        pass

    def stop(*_, **__):
        raise Stopped

    def interrupted():
        with monkeypatch.context() as patch:
            patch.setattr("safetensors.torch.save_file" if moment == "save_file" else f"ftlib.export.{moment}", stop)
            with pytest.raises(Stopped):
                merge(run, prompts=[])

    there = {path.name for path in run.iterdir()}
    interrupted()
    assert {path.name for path in run.iterdir()} == there
    merge(run, prompts=[])
    record = (run / "merged" / "export.json").read_bytes()
    interrupted()
    assert {path.name for path in run.iterdir()} == there | {"merged"}
    assert (run / "merged" / "export.json").read_bytes() == record
    merge(run, dtype="fp32", prompts=[])
    assert read_json(run / "merged" / "export.json")["dtype"] == "fp32"
    assert {path.name for path in run.iterdir()} == there | {"merged"}


def test_a_folder_that_is_no_export_is_not_replaced(run):
    (run / "merged").mkdir()
    (run / "merged" / "mine.txt").write_text("mine")
    with pytest.raises(SetupError, match="is no export"):
        merge(run, prompts=[])
    assert (run / "merged" / "mine.txt").read_text() == "mine"


def test_an_unfinished_run_an_unknown_dtype_and_a_broken_weight(run):
    with pytest.raises(SetupError, match="dtype='int8' is unknown"):
        merge(run, dtype="int8")
    file = run / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: t * 1e6 if "lora_B" in name else t for name, t in tensors.items()}, file, {"format": "pt"})
    with pytest.raises(SetupError, match=r"(down|q)_proj.weight is not finite in fp16"):
        merge(run, dtype="fp16", prompts=[])
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SetupError, match="holds no whole adapter"):
        merge(run, prompts=[])
    (run / "manifest.json").unlink()
    with pytest.raises(SetupError, match="03_train"):
        merge(run)
    assert not (run / "merged").exists()


def test_a_run_over_4_bits_says_what_it_was_merged_into(run, tiny_model, tmp_path):
    write_json(run / "settings.json", {"model": str(tiny_model), "load_in_4bit": True})
    assert "4 bits" in merge(run, prompts=[])["note"]
    card = (run / "merged" / "README.md").read_text()
    assert "trained over the base in 4 bits" in card and "NOT CHECKED" in card
    base = Path(shutil.copytree(tiny_model, tmp_path / "base-bnb-4bit"))
    config = read_json(base / "config.json") | {"quantization_config": {"quant_method": "bitsandbytes"}}
    write_json(base / "config.json", config)
    write_json(run / "settings.json", {"model": str(base), "load_in_4bit": True})
    with pytest.raises(SetupError, match="quantised weights only"):
        merge(run, prompts=[])


def test_prompts_are_ten_half_of_them_from_the_runs_own_training_chats(run):
    assert export._prompts(run) == list(export.PROMPTS) and len(set(export.PROMPTS)) == 10

    def chat(n, split="train"):
        turns = [{"role": "user", "content": f"Question {n}?"}, {"role": "assistant", "content": "x"}]
        return {"messages": turns, "split": split}

    rows = [chat(n) for n in range(40)] + [chat(n, "validation") for n in range(40, 60)]
    write_jsonl(run.parent.parent / "chats.jsonl", rows)
    assert export._prompts(run) == [*export.PROMPTS[:5], *(f"Question {n}?" for n in (0, 8, 16, 24, 32))]
    write_jsonl(run.parent.parent / "chats.jsonl", rows[:2])
    assert export._prompts(run) == [*export.PROMPTS[:8], "Question 0?", "Question 1?"]


def test_too_little_memory_is_said_before_the_work_and_the_check_can_be_left_out(run, monkeypatch):
    monkeypatch.setattr(export, "free_memory", lambda: 2**28 + 4 * 10**6)  # 3.2 M weights: 6.4 MB in 16 bits
    with pytest.raises(SetupError, match=r"prompts=\[\] \(--no-check\)"):
        merge(run, prompts=PROMPTS)
    assert not (run / "merged").exists()
    assert merge(run, prompts=[])["of"] == 0
    monkeypatch.setattr(export, "free_memory", lambda: 2**28 + 10 * 10**6)
    assert merge(run, prompts=PROMPTS[:1])["computed_in"] == "bf16 on cpu"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 10**6))  # type: ignore[attr-defined]
    with pytest.raises(SetupError, match="GiB free"):
        merge(run, prompts=[])


# --- another base -----------------------------------------------------------------------------------------------------


def test_an_adapter_of_another_base_is_refused_before_any_weight_is_read(run, tiny_model, tmp_path):
    check_base(run, str(tiny_model))
    for changed, reason in (
        ({"hidden_size": 64}, "down_proj is 32 x 64 in the adapter, 64 x 64 in the base"),
        ({"num_hidden_layers": 1}, "layers.1.self_attn.q_proj is not in the base"),
        ({"num_hidden_layers": 3}, "layers.2.self_attn.q_proj is in the base, not in the adapter"),
    ):
        other = tmp_path / "-".join(f"{k}{v}" for k, v in changed.items())
        shutil.copytree(tiny_model, other, ignore=shutil.ignore_patterns("*.safetensors"))  # config alone
        write_json(other / "config.json", read_json(other / "config.json") | changed)
        with pytest.raises(SetupError) as refused:
            check_base(run, str(other))
        assert reason in str(refused.value) and str(other) in str(refused.value) and "demo" in str(refused.value)
        write_json(run / "settings.json", {"model": str(other)})
        with pytest.raises(SetupError, match="does not fit the base"):
            merge(run)
    assert not (run / "merged").exists()


def test_a_replaced_embedding_of_another_vocabulary_is_refused(tiny_model, tmp_path):
    run = make_run(tmp_path / "run", tiny_model, modules_to_save=["lm_head"])
    check_base(run, str(tiny_model))
    other = Path(shutil.copytree(tiny_model, tmp_path / "other", ignore=shutil.ignore_patterns("*.safetensors")))
    write_json(other / "config.json", read_json(other / "config.json") | {"vocab_size": 500})
    with pytest.raises(SetupError, match=r"lm_head.weight is 49152 x 32 in the adapter, 500 x 32 there"):
        check_base(run, str(other))


@pytest.mark.parametrize("config", [{"use_dora": True}, {"init_lora_weights": "pissa_niter_4"}, {"peft_type": "IA3"}])
def test_an_adapter_of_another_kind_is_refused(run, config):
    file = run / "adapter" / "adapter_config.json"
    write_json(file, read_json(file) | config)
    with pytest.raises(SetupError, match="can't be merged here"):
        read_adapter(run)


# --- GGUF -------------------------------------------------------------------------------------------------------------

CONVERTER = """
import argparse, json, pathlib, sys

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--outfile")
parser.add_argument("--outtype", choices=["f32", "f16", "bf16", "q8_0"])
args = parser.parse_args()
flaw = pathlib.Path(__file__).with_name("flaw").read_text()
if flaw == "fails":
    sys.exit("Model NoSuchForCausalLM is not supported")
import numpy, gguf
config = json.loads((args.folder / "config.json").read_text())
tokens = json.loads((args.folder / "tokenizer.json").read_text())["model"]["vocab"]
with (args.folder / "model.safetensors").open("rb") as file:
    names = [n for n in json.loads(file.read(int.from_bytes(file.read(8), "little"))) if n != "__metadata__"]
writer = gguf.GGUFWriter(args.outfile, "qwen2" if flaw == "architecture" else "llama")
writer.add_block_count(config["num_hidden_layers"] + (flaw == "layers"))
writer.add_tokenizer_model("gpt2")
writer.add_token_list(sorted(tokens, key=tokens.get)[: 3 if flaw == "vocabulary" else None])
writer.add_eos_token_id(1 if flaw == "EOS" else 2)
template = (args.folder / "chat_template.jinja").read_text()
writer.add_chat_template(template + " " if flaw == "chat template" else template)
for name in [*names[flaw == "tensors":], "rope_freqs.weight"]:
    writer.add_tensor(name, numpy.zeros(2, dtype=numpy.float32))
writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
if flaw == "whole":
    path = pathlib.Path(args.outfile)
    path.write_bytes(path.read_bytes()[:-1000])
"""


@pytest.fixture
def llama_cpp(tmp_path):
    """Stands for llama.cpp: the converter writes a real GGUF, with the flaw that the file `flaw` names."""
    pytest.importorskip("gguf")
    folder = tmp_path / "llama.cpp"
    (folder / "build" / "bin").mkdir(parents=True)
    (folder / "convert_hf_to_gguf.py").write_text(CONVERTER)
    (folder / "flaw").write_text("")
    quantiser = folder / "build" / "bin" / "llama-quantize"
    quantiser.write_text('#!/bin/sh\necho "$3" > "$(dirname "$0")/asked"\ncp "$1" "$2"\n')
    quantiser.chmod(0o755)
    return folder


@pytest.fixture
def merged(plain, tmp_path):
    return Path(shutil.copytree(plain[0] / "merged", tmp_path / "run" / "merged"))


@pytest.fixture
def small(tmp_path):
    """What a converter reads of a merged model, with a vocabulary of six: a GGUF of 49,152 takes seconds to read."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<start>", "<end>", "a", "b", "c"]
    model = Tokenizer(BPE({word: n for n, word in enumerate(words)}, [], unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<end>", unk_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<end>{% endfor %}"
    folder = tmp_path / "small" / "merged"
    tokenizer.save_pretrained(folder)
    write_json(folder / "config.json", {"model_type": "llama", "num_hidden_layers": 2})
    save_file({f"weight.{n}": torch.zeros(1) for n in range(21)}, folder / "model.safetensors")
    return folder


def test_a_gguf_is_written_and_checked(small, llama_cpp, monkeypatch):
    made = gguf(small, "Q8_0", llama_cpp)
    assert made == small.parent / "merged-q8_0.gguf" and made.read_bytes()[:4] == b"GGUF"
    monkeypatch.setenv("LLAMA_CPP", str(llama_cpp))
    assert gguf(small, "q4_k_m").name == "merged-q4_k_m.gguf"
    assert (llama_cpp / "build" / "bin" / "asked").read_text() == "Q4_K_M\n"
    assert sorted(path.name for path in small.parent.iterdir()) == ["merged", "merged-q4_k_m.gguf", "merged-q8_0.gguf"]


def in_this_process(command, made):
    argv = sys.argv
    try:
        sys.argv = command[1:]
        runpy.run_path(command[1])
    finally:
        sys.argv = argv


@pytest.mark.parametrize(
    "flaw, message",
    [
        ("EOS", r"EOS 1 instead of 2 \(<end>\)"),
        ("chat template", "another chat template"),
        ("layers", "3 layers instead of 2"),
        ("tensors", "20 tensors instead of 21"),
        ("architecture", "architecture 'qwen2' for a llama model"),
        ("vocabulary", "3 tokens in the vocabulary instead of 6"),
        ("whole", "no whole GGUF"),
        ("fails", "NoSuchForCausalLM is not supported"),
    ],
)
def test_a_gguf_that_is_not_the_model_is_refused(small, llama_cpp, flaw, message, monkeypatch):
    if flaw not in ("EOS", "fails"):  # a process takes half a second
        monkeypatch.setattr(publish, "_call", in_this_process)
    (llama_cpp / "flaw").write_text(flaw)
    with pytest.raises(SetupError, match=message):
        gguf(small, llama_cpp=llama_cpp)
    assert [path.name for path in small.parent.iterdir()] == ["merged"]


def test_without_llama_cpp_the_commands_are_named(small, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError) as refused:
        gguf(small)
    clone, convert = str(refused.value).splitlines()[1:3]
    assert clone.strip().startswith("git clone") and f"{small} --outfile" in convert and "--outtype q8_0" in convert
    with pytest.raises(SetupError, match=r"llama-quantize .*-bf16\.gguf .*-q4_k_m\.gguf Q4_K_M"):
        gguf(small, "q4_k_m")
    with pytest.raises(SetupError, match="'q9' is unknown"):
        gguf(small, "q9")
    with pytest.raises(SetupError, match="holds no merged model"):
        gguf(tmp_path)
    (tmp_path / "convert_hf_to_gguf.py").write_text(CONVERTER)  # on PATH, and not executable
    (tmp_path / "flaw").write_text("fails")
    with pytest.raises(SetupError, match="NoSuchForCausalLM"):
        gguf(small)


# --- hub --------------------------------------------------------------------------------------------------------------


class Hub:
    """The few endpoints of the Hugging Face Hub that an upload of small files needs."""

    def __init__(self, server):
        self.server, self.files, self.calls, self.tokens, self.refuse = server, {}, [], set(), {}
        self.private: bool | None = None
        server.expect_request(re.compile("/.*")).respond_with_handler(self.answer)

    def answer(self, request):
        from werkzeug import Response

        path = request.path.removeprefix("/api/")
        self.calls.append(path)
        self.tokens.add(request.headers.get("Authorization"))
        if path in self.refuse:
            return Response(json.dumps({"error": "no"}), self.refuse[path], content_type="application/json")
        body: dict[str, Any] = {}
        if path == "repos/create":
            if self.private is not None:
                body = {"error": "exists", "url": f"{self.server.url_for('/')}anna/run"}
                return Response(json.dumps(body), 409, content_type="application/json")
            self.private = request.json["visibility"] == "private"
            body = {"url": f"{self.server.url_for('/')}anna/run"}
        elif path == "models/anna/run":
            body = {"id": "anna/run", "private": self.private, "siblings": [], "sha": "0" * 40}
        elif path == "models/anna/run/preupload/main":
            body = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in request.json["files"]
                ]
            }
        elif path == "models/anna/run/commit/main":
            for line in map(json.loads, request.data.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            body = {"commitUrl": f"{self.server.url_for('/')}anna/run/commit/{'1' * 40}", "commitOid": "1" * 40}
        elif path != "validate-yaml":
            return Response(f"no such endpoint: {path}", 500)
        return Response(json.dumps(body), 200, content_type="application/json")


@pytest.fixture
def hub(httpserver, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", httpserver.url_for("").rstrip("/"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return Hub(httpserver)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_adapter_is_uploaded_to_a_private_repository(run, hub, capsys):
    assert push(run, "anna/run") == f"{hub.server.url_for('/')}anna/run"
    assert hub.files == contents(run / "adapter") and hub.private is True
    assert hub.tokens == {"Bearer hf_secret"}
    push(run, "anna/run")  # again, now that it exists
    output = capsys.readouterr()
    assert "hf_secret" not in output.out + output.err


def test_the_merged_model_is_uploaded_whole(merged, hub):
    push(merged, "anna/run", token="hf_other", private=False)
    assert hub.files == contents(merged) and hub.private is False and hub.tokens == {"Bearer hf_other"}


def test_a_public_repository_is_not_taken_for_a_private_one(run, hub):
    hub.private = False
    with pytest.raises(SetupError, match="exists and is public"):
        push(run, "anna/run")
    assert hub.files == {} and "models/anna/run/commit/main" not in hub.calls


@pytest.mark.parametrize(
    "path, status, message",
    [
        ("repos/create", 401, r"does not know the token \(401\)"),
        ("repos/create", 403, r"may not write to anna/run \(403\)"),
        ("models/anna/run/commit/main", 403, r"may not write to anna/run \(403\)"),
        ("models/anna/run/commit/main", 400, r"refused the upload to anna/run \(400\): no"),
    ],
)
def test_what_the_hub_refuses(run, hub, path, status, message):
    hub.refuse[path] = status
    if status < 402:
        hub.refuse["models/anna/run"] = status if path == "repos/create" else 200
        hub.refuse = {k: v for k, v in hub.refuse.items() if v != 200}
    elif path == "repos/create":
        hub.refuse["models/anna/run"] = 404
    with pytest.raises(SetupError, match=message) as refused:
        push(run, "anna/run")
    assert "hf_secret" not in str(refused.value) and hub.files == {}


def test_what_is_refused_before_the_hub_is_asked(run, hub, monkeypatch, tmp_path):
    for name in ("run", "anna/run/more", "anna/my run", "/run"):
        with pytest.raises(SetupError, match="Write it as 'owner/name'"):
            push(run, name)
    with pytest.raises(SetupError, match="neither an adapter nor a merged model"):
        push(tmp_path, "anna/run")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SetupError, match="set HF_TOKEN"):
        push(run, "anna/run")
    (run / "manifest.json").unlink()
    with pytest.raises(SetupError, match="is unfinished"):
        push(run, "anna/run", token="hf_secret")
    assert hub.calls == []


def test_no_network_and_offline_mode(run, hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SetupError, match="can't be reached"):
        push(run, "anna/run")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="HF_HUB_OFFLINE is set"):
        push(run, "anna/run")


@pytest.mark.parametrize("where", ["home", "workspace", "model", "inside", "weights"])
def test_a_path_of_this_machine_is_not_uploaded(run, hub, where, tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/anna")
    adapter = run / "adapter"
    (adapter / "README.md").write_text("See https://example.org/home/anna/x, and a token: '/home/'.\n")
    publish.refuse_paths_of_this_machine(adapter)
    culprit = adapter / "README.md"
    if where == "home":
        culprit.write_text("Trained in /home/anna/projects/secret.\n")
    elif where == "workspace":
        culprit = adapter / "notes.jinja"
        culprit.write_text(f"{{# {run.resolve().parent / 'other'} #}}")
    elif where == "model":
        culprit = adapter / "adapter_config.json"
        write_json(culprit, read_json(culprit) | {"base_model_name_or_path": sys.prefix})
    elif where == "inside":
        culprit = adapter / "adapter_config.json"
        write_json(culprit, read_json(culprit) | {"note": "made by /home/anna/gone.py"})
    else:
        culprit = adapter / "adapter_model.safetensors"
        save_file(load_file(culprit), culprit, {"format": "pt", "made_by": "/home/anna/train.py"})
    with pytest.raises(SetupError) as refused:
        push(run, "anna/run")
    assert str(culprit) in str(refused.value) and hub.calls == []


# --- command line -----------------------------------------------------------------------------------------------------


def test_the_command_line_merges_once_converts_and_uploads(run, hub, monkeypatch, capsys):
    monkeypatch.setattr(export, "PROMPTS", export.PROMPTS[:1])
    monkeypatch.setattr(export, "gguf", lambda folder, kind: f"{folder}-{kind}.gguf")
    assert main([str(run)]) == 0
    assert "the same 1 answers" in capsys.readouterr().out
    before = (run / "merged" / "model.safetensors").stat().st_ino
    assert main([str(run), "--gguf", "q8_0", "--push", "anna/run", "--push-merged"]) == 0
    output = capsys.readouterr().out
    assert "is up to date" in output and "merged-q8_0.gguf" in output and "anna/run" in output
    assert (run / "merged" / "model.safetensors").stat().st_ino == before and "model.safetensors" in hub.files
    assert main([str(run), "--dtype", "fp32", "--no-check"]) == 0
    assert read_json(run / "merged" / "export.json")["dtype"] == "fp32"
    assert main([str(run / "nothing")]) == 1
    assert "03_train" in capsys.readouterr().err
