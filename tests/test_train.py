"""ftlib.train on a tiny model: settings that arrive, tokens that are counted, runs that go on.

Plain TRL runs here. Unsloth patches transformers for the whole process, so it runs in a process of its own, which
imports this file and calls `scenario`.
"""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from processes import in_a_process_of_its_own

from ftlib import sample
from ftlib.errors import SetupError
from ftlib.mixture import Mixture, MixtureConfig, build_mixture, split_of
from ftlib.settings import TrainConfig, check_config
from ftlib.train import build_trainer, load_model, save_run, train
from ftlib.workspace import read_jsonl, write_json

CONFIG = TrainConfig(
    max_length=64,
    lora_r=4,
    lora_alpha=8,
    learning_rate=2e-2,
    per_device_train_batch_size=2,
    optim="adamw_torch_fused",
    precision="fp32",
    packing=False,
    checkpoint_layers=0,
    backend="trl",
    save_steps=3,
    seed=3,
)


# So small a model is slower on several threads.
pytestmark = pytest.mark.usefixtures("one_thread")


class Stopped(Exception):
    """Stands for whatever ends a run before its time."""


def make_mixture(tokenizer, **settings) -> Mixture:
    """Nine or so rows of documents and chats, of unlike length."""
    text = "\n".join(row["answer"] for row in sample.questions("questions")[:6])
    documents = [
        {
            "id": f"docs:{n}",
            "source": "docs",
            "title": f"Page {n}",
            "path": f"{n}.md",
            "text": text[60 * n : 60 * n + 300],
        }
        for n in range(4)
    ]
    chats = [
        {
            "id": row["id"],
            "messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": row["answer"][:40]}],
            "method": "page_qa",
            "document_id": f"docs:{n % 4}",
            "split": split_of(f"docs:{n % 4}"),
        }
        for n, row in enumerate(sample.questions("questions")[:5])
    ]
    return build_mixture(documents, chats, tokenizer, MixtureConfig(max_length=64, all_data=True, **settings))


def flow(config: TrainConfig, folder: Path, stop_at: int = 0, data=None):
    """What notebook 03_train does; `stop_at` ends the run with an exception after that step."""
    model, tokenizer = load_model(config)
    mixture = make_mixture(tokenizer)
    trainer = build_trainer(model, tokenizer, mixture.train, config, folder)
    if stop_at:
        from transformers import TrainerCallback

        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **_):
                if state.global_step == stop_at:
                    raise Stopped

            def on_save(self, args, state, control, **_):
                self.on_step_end(args, state, control)

        trainer.add_callback(Stop())
    result = train(trainer, config, folder, data, mixture)
    save_run(folder, trainer, config, mixture, result)
    return mixture, result


def scenario(config: TrainConfig, folder: Path) -> None:
    """A whole run, and one that is stopped after a checkpoint and goes on; results.json holds what they returned."""
    mixture, whole = flow(config, folder / "whole")
    try:
        flow(config, folder / "resumed", stop_at=4)
    except Stopped:
        left = sorted(path.name for path in (folder / "resumed" / "checkpoints").glob("*-*"))
    resumed = flow(config, folder / "resumed")[1]
    rows = [len(row["input_ids"]) for row in mixture.train]
    write_json(
        folder / "results.json",
        {"whole": whole, "resumed": resumed, "left": left, "rows": rows, "audit": mixture.audit},
    )


def in_own_process(config: TrainConfig, folder: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; import test_train as t; from ftlib.settings import TrainConfig; "
        "t.scenario(TrainConfig(**json.loads(sys.argv[1])), Path(sys.argv[2]))"
    )
    in_a_process_of_its_own(code, folder, json.dumps(vars(config)), str(folder))


@pytest.fixture(scope="module")
def config(tiny_model):
    return replace(CONFIG, model=str(tiny_model))


@pytest.fixture(scope="module")
def trl(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trl")
    scenario(config, folder)
    return folder


@pytest.fixture(scope="module")
def unsloth(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unsloth")
    in_own_process(replace(config, backend="unsloth"), folder)
    return folder


@pytest.fixture(scope="module")
def compiled(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    scenario(replace(config, backend="compiled"), folder)
    return folder


@pytest.fixture(params=["trl", "compiled", "unsloth"])
def runs(request):
    """A folder with the two runs of `scenario`, by each backend."""
    return request.getfixturevalue(request.param)


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def adapter(folder: Path):
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


# --- a whole run ------------------------------------------------------------------------------------------------------


def test_settings_arrive(runs, config):
    resolved = load(runs / "whole" / "resolved.json")
    expected = {
        "learning_rate": 2e-2,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "num_train_epochs": 1.0,
        "max_steps": -1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "optim": "adamw_torch_fused",
        "bf16": False,
        "fp16": False,
        "max_length": 64,
        "packing": False,
        "gradient_checkpointing": False,
        "seed": 3,
        "train_sampling_strategy": "group_by_length",
        "device": "cpu",
        "dtypes": {"trainable": ["torch.float32"], "frozen": ["torch.float32"]},
    }
    assert {name: resolved[name] for name in expected} == expected
    lora = resolved["lora"]
    assert (lora["r"], lora["lora_alpha"], lora["lora_dropout"], lora["use_rslora"]) == (4, 8, 0.0, False)
    seven = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(lora["target_modules"]) == seven
    # r * (in + out) of the seven projections of two layers
    assert resolved["trainable_parameters"] == 2 * 4 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    saved = load(runs / "whole" / "settings.json")
    assert saved["machine"]["kind"] == "cpu"
    assert {**vars(config), "backend": saved["backend"]} == {name: saved[name] for name in vars(config)}


def test_every_token_of_the_rows_is_trained_on_once(runs):
    results = load(runs / "results.json")
    whole, rows = results["whole"], results["rows"]
    assert len(rows) > 8 and len(set(rows)) > 3
    assert whole["tokens"] == sum(rows) == sum(entry["tokens"] for entry in results["audit"])
    assert whole["steps"] == math.ceil(len(rows) / 2)
    assert whole["resumed_from"] == 0
    assert whole["tokens_per_second"] == pytest.approx(whole["tokens"] / whole["seconds"], rel=0.6)
    assert load(runs / "whole" / "audit.json") == results["audit"]


def test_the_loss_curve_has_every_step(runs):
    log = list(read_jsonl(runs / "whole" / "log.jsonl"))
    steps = load(runs / "results.json")["whole"]["steps"]
    assert [entry["step"] for entry in log] == list(range(1, steps + 1))
    # No warm-up, and a cosine that would reach zero at the step after the last.
    rates = [2e-2 * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    assert [entry["learning_rate"] for entry in log] == pytest.approx(rates)
    assert log[0]["loss"] == pytest.approx(math.log(49152), abs=0.1)  # of a random model
    assert min(entry["loss"] for entry in log) < log[0]["loss"] - 0.05


def test_the_adapter_is_loaded_by_peft(runs, config, tiny_model):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = runs / "whole" / "adapter"
    assert load(folder / "adapter_config.json")["base_model_name_or_path"] == config.model
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.arange(20, 40)[None]
    with torch.inference_mode():
        before = base(ids).logits
        model = PeftModel.from_pretrained(base, folder).eval()
        after = model(ids).logits
        with model.disable_adapter():
            assert torch.equal(model(ids).logits, before)
    assert (after - before).abs().max() > 1e-3
    assert all(weight.any() for name, weight in adapter(runs / "whole").items() if "lora_B" in name)
    assert AutoTokenizer.from_pretrained(folder).eos_token == "<|im_end|>"


def test_the_two_backends_learn_the_same(trl, unsloth):
    ours, theirs = (
        [entry["loss"] for entry in read_jsonl(folder / "whole" / "log.jsonl")] for folder in (trl, unsloth)
    )
    assert ours == pytest.approx(theirs, abs=2e-3)


# --- a run that goes on -----------------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_to_the_same_end(runs):
    import torch

    results = load(runs / "results.json")
    assert results["left"] == ["checkpoint-3"]
    resumed, whole = results["resumed"], results["whole"]
    assert (resumed["resumed_from"], resumed["steps"]) == (3, whole["steps"])
    assert resumed["tokens"] == whole["tokens"], "not those of the whole run"
    assert not (runs / "resumed" / "checkpoints").exists()
    first, second = ([e["loss"] for e in read_jsonl(runs / name / "log.jsonl")] for name in ("whole", "resumed"))
    assert second == pytest.approx(first, abs=1e-4)
    expected, found = adapter(runs / "whole"), adapter(runs / "resumed")
    assert expected.keys() == found.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in expected)


def test_a_scaled_adapter_is_the_trained_one_times_the_scale(trl, config, tmp_path):
    flow(replace(config, adapter_scale=0.5), tmp_path)
    whole, scaled = adapter(trl / "whole"), adapter(tmp_path)
    assert whole.keys() == scaled.keys()
    for name, weight in whole.items():
        assert (scaled[name] == weight * (0.5 if "lora_B" in name else 1)).all()


@pytest.fixture
def interrupted(config, tmp_path):
    """A run of data "a" that stopped after its checkpoint at step 3."""
    with pytest.raises(Stopped):
        flow(config, tmp_path / "run", stop_at=4, data="a")
    return tmp_path / "run"


@pytest.mark.parametrize("change", ["nothing", "settings", "data", "a checkpoint cut short"])
def test_only_a_checkpoint_of_the_same_run_is_used(interrupted, config, change, capsys):
    if change == "a checkpoint cut short":
        partial = interrupted / "checkpoints" / "checkpoint-4"
        partial.mkdir()
        (partial / "adapter_model.safetensors").write_bytes(b"\0")
    new = replace(config, learning_rate=1e-3) if change == "settings" else config
    result = flow(new, interrupted, data="b" if change == "data" else "a")[1]
    expected = 0 if change in ("settings", "data") else 3
    assert result["resumed_from"] == expected
    assert ("Going on from checkpoint-3" in capsys.readouterr().out) == bool(expected)
    everything = sum(entry["tokens"] for entry in load(interrupted / "audit.json"))
    assert result["tokens"] == everything
    assert len(list(read_jsonl(interrupted / "log.jsonl"))) == result["steps"]


def test_a_trained_adapter_is_no_fresh_start(config, tmp_path):
    """In a notebook the model of an interrupted run is still in memory."""
    model, tokenizer = load_model(config)
    mixture = make_mixture(tokenizer)
    settings = replace(config, save_steps=0, max_steps=1)
    train(build_trainer(model, tokenizer, mixture.train, settings, tmp_path), settings, tmp_path)
    with pytest.raises(SetupError, match="trained before .*call load_model again"):
        train(build_trainer(model, tokenizer, mixture.train, settings, tmp_path), settings, tmp_path)


# --- rows and their order ---------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(config):
    return load_model(config)


@pytest.mark.parametrize("looked_at", [1, 2, 10])
def test_a_capped_run_counts_what_it_used(config, tmp_path, looked_at):
    """The loader is one batch ahead of the steps; that batch is not counted. Steps between looks at the loss are."""
    rows = [{"input_ids": [n] * 10, "labels": [n] * 10, "source": "code"} for n in range(20, 36)]
    settings = replace(config, max_steps=3, gradient_accumulation_steps=2, save_steps=0)
    model, tokenizer = load_model(settings)
    trainer = build_trainer(model, tokenizer, rows, settings, tmp_path)
    trainer.args.logging_steps = looked_at
    result = train(trainer, settings, tmp_path)
    assert (result["steps"], result["tokens"]) == (3, 3 * 2 * 2 * 10)


def test_raw_then_chat_keeps_its_order(config, loaded, tmp_path):
    mixture = make_mixture(loaded[1], order="raw_then_chat")

    def seen(order):
        trainer = build_trainer(loaded[0], loaded[1], mixture.train, config, tmp_path, order)
        batches = list(trainer.get_train_dataloader())
        rows = [row for batch in batches for row in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
        return [ids[mask.bool()].tolist() for ids, mask in rows]

    rows = [row["input_ids"] for row in mixture.train]
    assert seen("raw_then_chat") == rows
    assert seen("mixed") != rows
    assert sorted(seen("mixed")) == sorted(rows)


def test_labels_reach_the_model(config, loaded, tmp_path):
    """Where a row carries no loss, nothing is learned: its labels are -100 in the batch, padding included."""
    mixture = make_mixture(loaded[1], loss_on="assistant")
    trainer = build_trainer(loaded[0], loaded[1], mixture.train, config, tmp_path)
    found = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in trainer.get_train_dataloader())
    assert found == sum(entry["tokens_with_loss"] for entry in mixture.audit)
    assert found < sum(entry["tokens"] for entry in mixture.audit)


def test_a_run_is_saved_under_the_models_name_without_asking_the_hub(config, loaded, tmp_path):
    mixture = make_mixture(loaded[1])
    settings = replace(config, save_steps=0, max_steps=1)
    trainer = build_trainer(loaded[0], loaded[1], mixture.train, settings, tmp_path)
    result = train(trainer, settings, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns when its look-up fails
        save_run(tmp_path, trainer, replace(settings, model="some/model"), mixture, result)
    assert load(tmp_path / "adapter" / "adapter_config.json")["base_model_name_or_path"] == "some/model"


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_row_that_is_too_long(config, loaded, tmp_path):
    rows = [{"input_ids": [5] * n, "labels": [5] * n, "source": "code"} for n in (10, 65)]
    with pytest.raises(SetupError, match="A row has 65 tokens, max_length is 64"):
        build_trainer(loaded[0], loaded[1], rows, config, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lora_r": 0}, "lora_r=0: the rank must be at least 1"),
        ({"max_length": 8}, "max_length=8 is too short"),
        ({"backend": "axolotl"}, "backend='axolotl' is unknown"),
        ({"adapter_scale": 0}, "adapter_scale=0: it must be above 0"),
        ({"adapter_scale": 1.1}, "adapter_scale=1.1"),
        ({"max_steps": -1}, "max_steps must not be negative"),
        ({"num_train_epochs": 0}, "num_train_epochs must be above 0"),
        ({"optim": "adamw_8bit"}, "no GPU here: .*optim='adamw_torch_fused'"),
        ({"optim": "paged_adamw_8bit"}, "no GPU here"),
        ({"load_in_4bit": True}, "no GPU here: set load_in_4bit=False"),
    ],
)
def test_wrong_settings(config, change, reason):
    for check in (check_config, load_model):
        with pytest.raises(SetupError, match=reason):
            check(replace(config, **change))


def test_a_model_without_weights(config, tiny_model, tmp_path):
    import shutil

    shutil.copytree(tiny_model, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(SetupError, match=f"The model '{tmp_path / 'model'}' can't be loaded"):
        load_model(replace(config, model=str(tmp_path / "model")))


def test_a_setting_that_the_trainer_changed(config, loaded, tmp_path, monkeypatch):
    """As when a patched library turns something off in silence."""
    from trl import SFTTrainer

    build = SFTTrainer.__init__

    def patched(self, *args, **more):
        build(self, *args, **more)
        self.args.warmup_steps = 7

    monkeypatch.setattr(SFTTrainer, "__init__", patched)
    with pytest.raises(SetupError, match="warmup_steps: 0 was asked for, the trainer has 7"):
        build_trainer(loaded[0], loaded[1], make_mixture(loaded[1]).train, config, tmp_path)
