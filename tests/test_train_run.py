"""What a run measures, what stops it, and a run from a file: held-out losses, NaN, a full card, exit codes."""

import math
import re
from dataclasses import asdict, replace

import evaluated
import pytest
from processes import in_a_process_of_its_own
from test_train import CONFIG, load, make_mixture

from ftlib import replay, sample
from ftlib.audit import RAW_SOURCES
from ftlib.errors import LossIsNaN, OutOfMemory, SetupError
from ftlib.general_items import general_items
from ftlib.inference import token_loss
from ftlib.mixture import MixtureConfig, build_mixture, split_of
from ftlib.runtime import Accelerator, accelerator
from ftlib.settings import TrainConfig
from ftlib.synth.journal import Journal
from ftlib.train import build_trainer, load_model, save_run, train
from ftlib.training import faults, from_file, planner, record, validation
from ftlib.workspace import open_workspace, read_jsonl, write_json, write_jsonl, write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
DOCUMENTS = [n for n in range(40) if n < 10 or split_of(f"docs:{n}") == "validation"]  # four are held out, or so


def held_out_mixture(tokenizer):
    """Some documents and their chats, of which some are held out."""
    text = "\n".join(row["answer"] for row in sample.questions("questions"))
    documents = [
        {"id": f"docs:{n}", "source": "docs", "title": f"Page {n}", "path": f"{n}.md", "text": text[50 * n :][:120]}
        for n in DOCUMENTS
    ]
    chats = [
        {
            "id": f"chat:{n}",
            "messages": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": text[n:][:40]}],
            "method": "page_qa",
            "document_id": f"docs:{n}",
            "split": split_of(f"docs:{n}"),
        }
        for n in DOCUMENTS
    ]
    return documents, chats, build_mixture(documents, chats, tokenizer, MixtureConfig(max_length=64))


@pytest.fixture(scope="module")
def config(tiny_model):
    return replace(CONFIG, model=str(tiny_model), eval_steps=3, eval_tokens=0)


@pytest.fixture(scope="module", params=["trl", "compiled"])
def run(request, config, tmp_path_factory):
    """A run with its trainer, mixture, result and folder."""
    config = replace(config, backend=request.param, adapter_scale=0.5)
    folder = tmp_path_factory.mktemp(request.param)
    model, tokenizer = load_model(config)
    *_, mixture = held_out_mixture(tokenizer)
    trainer = build_trainer(model, tokenizer, mixture.train, config, folder)
    result = train(trainer, config, folder, mixture=mixture)
    save_run(folder, trainer, config, mixture, result)
    return trainer, mixture, result, folder, config


# --- held-out losses --------------------------------------------------------------------------------------------------


def test_held_out_losses_are_sums_over_all_labels(run):
    """Before and after, by group, they are what the rows give one by one with the adapter off and on."""
    trainer, mixture, result, *_ = run
    rows = list(mixture.validation)
    raw = [row for row in rows if row["source"] in RAW_SOURCES]
    chats = [row for row in rows if row["source"] not in RAW_SOURCES]
    assert len(raw) > 2 and len(chats) > 1
    model = trainer.model.eval()
    for name, group in (("raw", raw), ("chat", chats)):
        with model.disable_adapter():
            before = token_loss(model, group, 0, tokens=1)  # row by row
        after = token_loss(model, group, 0, tokens=1)
        assert result["before"][name] == pytest.approx({k: before[k] for k in ("loss", "tokens")}, rel=1e-5)
        assert result["after"][name] == pytest.approx({k: after[k] for k in ("loss", "tokens")}, rel=1e-5)
        assert abs(result["after"][name]["loss"] - result["before"][name]["loss"]) > 0.01
    assert result["before"].keys() == result["after"].keys() == {"chat", "raw", "general"}


def test_the_general_loss_is_on_answers_alone(run, config):
    trainer, mixture, *_ = run
    groups = validation.groups(mixture, trainer.processing_class, config)
    answers = {item["reference"].strip() for item in general_items()}
    for row in groups["general"]:
        kept = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
        assert trainer.processing_class.decode(kept, skip_special_tokens=True).strip() in answers
    assert len(groups["general"]) > 10
    few = validation.groups(mixture, trainer.processing_class, replace(config, eval_tokens=100))
    assert all(1 <= sum(len(row["input_ids"]) for row in rows) <= 100 for rows in few.values())


def test_losses_are_measured_from_step_0_on(run):
    _, _, result, folder, config = run
    measured = list(read_jsonl(folder / "validation.jsonl"))
    steps = [*range(0, result["steps"] + 1, config.eval_steps)]
    assert [entry["step"] for entry in measured] == [*steps, result["steps"]] and len(steps) > 2
    assert measured[0]["validation"] == result["before"] and measured[-1]["validation"] == result["after"]
    totals = [entry["tokens"] for entry in read_jsonl(folder / "log.jsonl")]
    assert totals == sorted(totals) and totals[-1] == result["tokens"] == sum(
        e["tokens"] for e in load(folder / "audit.json")
    )


def test_the_record_says_what_was_done(run):
    _, _, result, folder, config = run
    resolved = load(folder / "resolved.json")
    assert resolved["path"]["backend"] == config.backend
    assert resolved["versions"]["torch"] and resolved["versions"]["peft"]
    assert result["model_flops_share"] is None, "a CPU has no peak in the table"
    card = (folder / "adapter" / "README.md").read_text()
    assert f"{result['tokens']:,} tokens in {result['steps']} steps" in card and "r = 4, alpha = 8" in card
    for name in ("chat", "raw"):
        row = f"| {name} | {result['before'][name]['loss']:.3f} | {result['after'][name]['loss']:.3f} |"
        assert row in card
    results = evaluated.results(evaluated.samples(scale=0.1))
    record.write_card(folder, results)
    evaluation = re.sub(r"\\(.)", r"\1", (folder / "adapter" / "README.md").read_text().split("## Evaluation\n")[1])
    assert f"**{results['verdict']['line']}**".replace(">", "&gt;") in evaluation
    assert "| Canaries | ✗ FAIL | 17% | 3% to 56% | 0% | share |" in evaluation
    rate = results["sets"]["general"]["tuned"]["correct"]["rate"]
    assert re.search(
        rf"[|] General knowledge and code [|] 12 [|] .* [|] {rate:.0%} \(.*\n\nMade with ftlib", evaluation
    )
    before = (folder / "adapter" / "README.md").read_text()
    with pytest.raises(SetupError, match="04_eval"):
        record.write_card(folder, {"verdict": "12 of 20"})
    assert (folder / "adapter" / "README.md").read_text() == before
    assert str(folder) not in card


def test_the_share_of_the_cards_peak(run, monkeypatch):
    """Of a tiny Llama at r = 4: two operations a weight and pass, PaLM's way of counting."""
    trainer, mixture, *_, config = run
    card = Accelerator("cuda", "NVIDIA H100 80GB HBM3", 79.2, 1, True)
    monkeypatch.setattr("ftlib.runtime.accelerator", lambda: card)
    layer, adapter = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64, 4 * (2 * 64 + 2 * 48 + 3 * 96)
    head = 32 * trainer.model.config.vocab_size
    sizes = [len(row["input_ids"]) for row in mixture.train]
    context = sum(n * (n + 1) / 2 for n in sizes) / sum(sizes)
    work = 4 * (2 * layer + head) + 6 * 2 * adapter + 3 * 4 * 2 * 32 * context
    again = 2 * 2 * layer + 2 * 2 * adapter + 4 * 2 * 32 * context
    for layers, extra in ((0, 0.0), (1, again / 2), (-1, again)):
        share = record.card_share(trainer.model, replace(config, checkpoint_layers=layers), mixture.train, 1e7)
        assert share["model_flops_share"] == pytest.approx(1e7 * work / 989.4e12, abs=1e-4)
        if config.backend == "compiled":  # plain TRL computes all layers again or none
            assert share["hardware_flops_share"] == pytest.approx(1e7 * (work + extra) / 989.4e12, abs=1e-4)


# --- what stops a run -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run(config, tmp_path):
    import torch
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    model, tokenizer = load_model(config)
    mixture = make_mixture(tokenizer)
    trainer = build_trainer(model, tokenizer, mixture.train, config, tmp_path)
    batches, step = [], trainer.training_step

    class Poison(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 4:
                next(w for name, w in model.named_parameters() if "lora_A" in name).data.fill_(float("nan"))

    def stepping(model, batch, *more):
        batches.append(
            [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
        )
        return step(model, batch, *more)

    trainer.training_step = stepping
    trainer.add_callback(Poison())
    with pytest.raises(LossIsNaN) as error:
        train(trainer, config, tmp_path, mixture=mixture)
    assert "nan" in str(error.value) and "at step 5" in str(error.value) and "checkpoint-3" in str(error.value)
    names = {row["document_id"] for row in mixture.train if row["input_ids"] in batches[-1]}
    others = {row["document_id"] for row in mixture.train} - names
    assert names and all(name in str(error.value) for name in names)
    assert others and not any(f"{name}," in str(error.value) for name in others)
    kept = load_file(tmp_path / "checkpoints" / "checkpoint-3" / "adapter_model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in kept.values())
    assert [p.name for p in (tmp_path / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]


def test_nan_is_seen_before_it_is_saved(config, tmp_path):
    """Where the loss is looked at every tenth step only, it is before a checkpoint too."""
    model, tokenizer = load_model(config)
    mixture = make_mixture(tokenizer)
    trainer = build_trainer(model, tokenizer, mixture.train, config, tmp_path)
    trainer.args.logging_steps = trainer.state.logging_steps = 10
    next(w for name, w in model.named_parameters() if "lora_A" in name).data.fill_(float("nan"))
    with pytest.raises(LossIsNaN, match="There is no checkpoint yet"):
        train(trainer, config, tmp_path, mixture=mixture)
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))


def test_a_full_card_is_told_with_the_next_smaller_settings(config, tmp_path, monkeypatch):
    import torch

    model, tokenizer = load_model(config)
    mixture = make_mixture(tokenizer)
    trainer = build_trainer(model, tokenizer, mixture.train, config, tmp_path)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    trainer.training_step = full
    monkeypatch.setattr(planner, "smaller", lambda config, machine: (replace(config, lora_r=2), "Take rank 2."))
    with pytest.raises(OutOfMemory, match=r"is full\. Take rank 2\. Set lora_r=2 and call load_model again"):
        train(trainer, config, tmp_path, mixture=mixture)
    monkeypatch.setattr(planner, "smaller", lambda config, machine: None)
    assert "There is no smaller setting" in str(faults.out_of_memory(config, accelerator()))


def test_a_compiler_that_fails_is_told(config, tmp_path):
    # The real one wants a traceback of a compiled frame.
    failed = type("BackendCompilerFailed", (RuntimeError,), {"__module__": "torch._dynamo.exc"})
    model, tokenizer = load_model(config)
    trainer = build_trainer(model, tokenizer, make_mixture(tokenizer).train, config, tmp_path)

    def broken(*_, **__):
        raise failed("Failed to find C compiler.")

    trainer.training_step = broken
    with pytest.raises(SetupError, match=r"could not be compiled here: .*C compiler.*Set backend='unsloth'"):
        train(trainer, config, tmp_path)
    assert faults.compiler_error(RuntimeError("else")) is None


# --- a run from a file ------------------------------------------------------------------------------------------------


@pytest.fixture
def space(tmp_path, smollm):
    space = open_workspace(tmp_path / "space")
    documents, chats, _ = held_out_mixture(smollm)
    for path, rows, stage in ((space.documents, documents, "01_scrape"), (space.chats, chats, "02_synth")):
        write_jsonl(path, rows)
        write_manifest(path, stage=stage, settings={}, counts={})
    return space


def settings_file(space, config, **more):
    path = space.root / "config.json"
    train_settings = {name: value for name, value in asdict(config).items() if value != getattr(TrainConfig(), name)}
    asked = {"workspace": str(space.root), "train": train_settings, "mixture": {"max_length": 64}}
    write_json(path, {**asked, **more})
    return path


def test_a_run_from_a_file(space, config):
    path = settings_file(space, config, folder="sweeps/one/trials/0001", keep="metrics")
    code = "import runpy, sys; sys.argv[0] = 'ftlib.train'; runpy.run_module('ftlib.train', run_name='__main__')"
    in_a_process_of_its_own(code, space.root, str(path))
    folder = space.root / "sweeps" / "one" / "trials" / "0001"
    result = load(folder / "result.json")
    assert {"before", "after", "seconds", "steps", "tokens", "tokens_per_second", "peak_memory_gib"} <= result.keys()
    assert all(math.isfinite(found["loss"]) and found["tokens"] > 0 for found in result["after"].values())
    assert result["after"]["raw"]["loss"] < result["before"]["raw"]["loss"]
    assert not (folder / "adapter").exists() and not (folder / "checkpoints").exists()
    assert len(list(read_jsonl(folder / "log.jsonl"))) == result["steps"]


def test_one_file_is_asked_for(capsys):
    assert from_file.main([]) == from_file.main(["a", "b"]) == 2
    assert "python -m ftlib.train config.json" in capsys.readouterr().err


def test_a_run_from_a_file_is_a_run(space, config, capsys):
    """With the base's own chats, which an earlier run of the same model has written."""
    mixing = {"max_length": 64, "replay_tokens": 5, "repeats": {"replay": 3}}
    path = settings_file(space, config, folder="runs/served", mixture=mixing)
    with Journal(replay._path(space, config)) as journal:
        said = [{"role": "user", "content": "Who is it?"}, {"role": "assistant", "content": "Nobody at all"}]
        journal.extend({str(n): {"tokens": 3, "messages": said, "cut": False} for n in range(4)})
    assert from_file.main([str(path)]) == 0
    folder = space.run("served")
    audit = load(folder / "audit.json")
    assert load(folder / "result.json")["tokens"] == sum(entry["tokens"] for entry in audit)
    assert [entry["rows"] for entry in audit if entry["source"] == "replay"] == [2 * 3]
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert load(folder / "manifest.json")["settings"]["train"]["lora_r"] == 4


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"epochs": 3}, 2, "epochs is unknown"),
        ({"folder": "../elsewhere"}, 2, "is not in the workspace"),
        ({"train": {"rank": 3}}, 2, "has no setting 'rank'"),
    ],
)
def test_a_wrong_file_is_told(space, config, change, code, said, capsys):
    assert from_file.main([str(settings_file(space, config, **change))]) == code
    assert said in capsys.readouterr().err


def test_exit_codes_tell_memory_from_nan(space, config, capsys, monkeypatch):
    def fails(error):
        def train(*_, **__):
            raise error

        return train

    path = settings_file(space, config)
    for error, code in ((OutOfMemory("full"), 3), (LossIsNaN("nan"), 4), (SetupError("else"), 2)):
        monkeypatch.setattr(from_file, "train", fails(error))
        assert from_file.main([str(path)]) == code


def test_a_full_card_is_retried_with_smaller_settings(space, config, capsys, monkeypatch):
    tried = []

    def train(trainer, config, *_, **__):
        tried.append(config.lora_r)
        raise faults.out_of_memory(config, accelerator())

    monkeypatch.setattr(from_file, "train", train)
    monkeypatch.setattr(planner, "smaller", lambda config, machine: (replace(config, lora_r=config.lora_r // 2), ""))
    assert from_file.main([str(settings_file(space, config, retry=2))]) == 3
    assert tried == [4, 2, 1]


def test_processes_share_a_batch(config, monkeypatch):
    def shared(processes, batch, accumulated):
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        found = from_file._shared(
            replace(config, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulated)
        )
        return found.per_device_train_batch_size, found.gradient_accumulation_steps

    assert shared(1, 3, 1) == (3, 1)
    assert shared(2, 3, 4) == (3, 2)
    assert shared(2, 4, 1) == (2, 1)
    for processes, batch, accumulated in ((2, 1, 1), (2, 3, 3), (4, 2, 2)):
        with pytest.raises(SetupError, match=f"{processes} processes can't share a batch of {batch} x {accumulated}"):
            shared(processes, batch, accumulated)


def test_the_sweep_runs_the_real_trainer(space, config):
    from ftlib.sweep import SweepConfig, best, sweep

    grid = SweepConfig(coarse={"learning_rate": (2e-2,)}, trials=(1,), epochs=(1.0,))
    rows = sweep(grid, replace(config, max_steps=0, eval_steps=0), MixtureConfig(max_length=64), space)
    result = load(space.root / "sweeps/sweep/trials/0000/result.json")
    assert [row["state"] for row in rows] == ["done"] and rows[0]["tokens"] == result["tokens"] > 0
    assert rows[0]["chat_loss"] == result["after"]["chat"]["loss"] < result["before"]["chat"]["loss"]
    assert rows[0]["raw_loss"] == result["after"]["raw"]["loss"]
    assert rows[0]["forgetting"] == pytest.approx(
        result["after"]["general"]["loss"] - result["before"]["general"]["loss"]
    )
    assert best(space, "sweep") == {"learning_rate": 2e-2}
