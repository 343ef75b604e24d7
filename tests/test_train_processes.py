"""A run in two processes, started by torch's own launcher: the curve of one process, one end, one voice.

A launch takes some ten seconds to import, so that one does all. This file is also what it runs, as a module: `CURVES`,
a run whose loss is no number, one that is interrupted and goes on, and one whose second process is full.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_train import CONFIG, load
from test_train_run import held_out_mixture, settings_file

from ftlib import replay
from ftlib.errors import LossIsNaN
from ftlib.runtime import Accelerator
from ftlib.settings import TrainConfig
from ftlib.synth.journal import Journal
from ftlib.training import backends, from_file, processes
from ftlib.workspace import open_workspace, read_jsonl, write_json, write_jsonl, write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
# 40 rows, which fall into other groups of like length where the batches of one process alone are counted.
MIXTURES: dict[str, dict[str, Any]] = {
    "trl": {"repeats": {"page_qa": 4}},
    # With rows on which the model is held to its base.
    "compiled-ordered": {"order": "raw_then_chat", "replay_tokens": 20, "repeats": {"replay": 2}},
}
# What differs between runs in the order of rows, in the shape of batches, and in how two processes share a step.
CURVES: dict[str, dict[str, Any]] = {
    "trl": {"backend": "trl", "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
    "compiled-packed": {"backend": "compiled", "packing": True, "per_device_train_batch_size": 1,
                        "gradient_accumulation_steps": 4},
    "compiled-ordered": {"backend": "compiled", "packing": True, "gradient_accumulation_steps": 2},
}  # fmt: skip
INTERRUPTED = "compiled-packed"  # its third checkpoint is in the second epoch


def launched(*command: str) -> subprocess.CompletedProcess:
    """A command in two processes by torch's launcher."""
    here = Path(__file__).parent
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([*launcher, *command], env=env, capture_output=True, text=True, timeout=200)


def asked(space, model, name, folder, **changes) -> Path:
    """The file of settings for a run of `CURVES` into a folder."""
    config = replace(CONFIG, model=str(model), num_train_epochs=2, eval_steps=3, eval_tokens=150, **CURVES[name])
    mixture = MIXTURES.get(name, {}) | {"max_length": 64}
    path = settings_file(space, replace(config, **changes), folder=f"runs/{folder}", mixture=mixture)
    return path.rename(space.root / f"{folder}.json")


# --- in each of the two processes -------------------------------------------------------------------------------------


def spoilt(path: Path, step: int, spoil, ranks: str = "1"):
    """What a run says whose second process, or both, meets something at a step."""
    build = from_file.build_trainer

    def build_trainer(*args):
        trainer = build(*args)
        usual = trainer.training_step

        def stepping(*args, **more):
            if os.environ["RANK"] in ranks and trainer.state.global_step == step:
                spoil(trainer)
            return usual(*args, **more)

        trainer.training_step = stepping
        return trainer

    from_file.build_trainer = build_trainer
    try:
        return from_file.main([str(path)]) if spoil is fill else from_file.run_file(path)
    except (LossIsNaN, InterruptedError) as error:
        return str(error)
    finally:
        from_file.build_trainer = build


def poison(trainer) -> None:
    next(w for name, w in trainer.model.named_parameters() if "lora_A" in name).data.fill_(float("nan"))


def interrupt(trainer) -> None:
    raise InterruptedError


def fill(trainer) -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")


def in_each_process(paths: list[Path], nan: Path, interrupted: Path, full: Path) -> int:
    with processes.first_speaks():
        for path in paths:
            write_json(path.with_suffix(f".{os.environ['RANK']}"), from_file.run_file(path))
        nan.with_suffix(f".{os.environ['RANK']}").write_text(spoilt(nan, 1, poison))
        spoilt(interrupted, 7, interrupt, ranks="01")
        from_file.run_file(interrupted)
    return spoilt(full, 4, fill)


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def space(tmp_path_factory, smollm):
    space = open_workspace(tmp_path_factory.mktemp("processes"))
    documents, chats, _ = held_out_mixture(smollm)
    for path, rows, stage in ((space.documents, documents, "01_scrape"), (space.chats, chats, "02_synth")):
        write_jsonl(path, rows)
        write_manifest(path, stage=stage, settings={}, counts={})
    return space


@pytest.fixture(scope="module")
def together(space, tiny_model):
    """What the launcher said of the runs in two processes, all of them."""
    with Journal(replay._path(space, replace(CONFIG, model=str(tiny_model)))) as journal:
        said = [{"role": "user", "content": "Who is it?"}, {"role": "assistant", "content": "Nobody you would know."}]
        journal.extend({str(n): {"tokens": 5, "messages": said, "cut": n % 2 == 0} for n in range(4)})
    paths = [asked(space, tiny_model, name, f"{name}-2") for name in CURVES]
    nan = asked(space, tiny_model, "compiled-ordered", "nan")
    interrupted, full = (asked(space, tiny_model, INTERRUPTED, name) for name in ("interrupted", "full"))
    return launched("-m", "test_train_processes", *map(str, (nan, interrupted, full, *paths)))


@pytest.fixture(scope="module")
def alone(space, tiny_model, together):
    """The folders of the same runs in one process."""
    for name in CURVES:
        from_file.run_file(asked(space, tiny_model, name, f"{name}-1"))
    return {name: space.run(f"{name}-1") for name in CURVES}


def check_same(one: Path, two: Path, rel: float = 1e-4) -> None:
    """The same curve, held-out losses, counts and adapter."""
    from safetensors.torch import load_file

    ours, theirs = list(read_jsonl(two / "log.jsonl")), list(read_jsonl(one / "log.jsonl"))
    for name in ("step", "tokens", "epoch"):
        assert [e[name] for e in ours] == pytest.approx([e[name] for e in theirs], abs=1e-9), name
    for name in ("loss", "grad_norm", "learning_rate"):
        assert [e[name] for e in ours] == pytest.approx([e[name] for e in theirs], rel=rel, abs=1e-9), name
    ours, theirs = list(read_jsonl(two / "validation.jsonl")), list(read_jsonl(one / "validation.jsonl"))
    assert [e["step"] for e in ours] == [e["step"] for e in theirs] and len(ours) > 2
    for our, their in zip(ours, theirs, strict=True):
        assert our["validation"].keys() == their["validation"].keys() == {"raw", "chat", "general"}
        for group, found in their["validation"].items():
            assert our["validation"][group] == pytest.approx(found, rel=rel)
    mine, other = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (two, one))
    assert mine.keys() == other.keys()
    for name, weight in other.items():
        assert (mine[name] - weight).norm() <= rel * weight.norm(), name


@pytest.mark.parametrize("name", CURVES)
def test_two_processes_learn_what_one_learns(space, together, alone, name):
    """Loss by loss, with batches that two can't share evenly at each epoch's end."""
    two = space.run(f"{name}-2")
    assert (two / "manifest.json").is_file(), together.stderr[-3000:]
    check_same(alone[name], two)
    steps = list(read_jsonl(two / "log.jsonl"))
    assert steps[-1]["loss"] < steps[0]["loss"] and len(steps) >= 4 and steps[-1]["epoch"] == 2


@pytest.mark.parametrize("name", CURVES)
def test_what_is_written_is_whole_and_of_both(space, together, alone, name):
    one, two = alone[name], space.run(f"{name}-2")
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    first, other = (load(space.root / f"{name}-2.{rank}") for rank in (0, 1))
    result = load(two / "result.json")
    assert result == first and result.keys() == load(one / "result.json").keys()
    assert other["tokens"] == first["tokens"] == 2 * sum(entry["tokens"] for entry in load(two / "audit.json"))
    assert result["tokens_per_second"] == pytest.approx(result["tokens"] / result["seconds"], rel=0.2)
    resolved, plain = load(two / "resolved.json"), load(one / "resolved.json")
    assert resolved["world_size"] == 2 and resolved["ddp_find_unused_parameters"] is False
    shares = [
        r["per_device_train_batch_size"] * r["gradient_accumulation_steps"] * r["world_size"] for r in (resolved, plain)
    ]
    assert shares[0] == shares[1]
    assert load(two / "settings.json") == load(one / "settings.json"), "what was asked for does not depend on it"
    assert not list(two.glob("checkpoints"))


def test_a_loss_that_is_no_number_is_one_for_all(space, together):
    """The second process's weights alone were spoilt; both end, with the documents of both."""
    said, other = ((space.root / f"nan.{rank}").read_text() for rank in (0, 1))
    assert said == other and "became nan" in said and "at step 2" in said
    assert "There is no checkpoint yet" in said


def test_one_full_card_ends_both_with_its_code_and_one_message(space, together):
    assert together.returncode == 1, "torchrun's own"
    assert together.stderr.count("is full.") == 1 and "Checkpoints are kept" in together.stderr
    assert "exitcode  : 3" in together.stderr and "exitcode  : 1" not in together.stderr
    assert "Traceback" not in together.stderr.split("ChildFailedError")[0].rsplit("is full.", 1)[0]
    assert "closed by peer" not in together.stderr
    left = [path.name for path in (space.run("full") / "checkpoints").glob("checkpoint-*")]
    assert left == ["checkpoint-3"] and not (space.run("full") / "result.json").exists()


def test_the_first_process_alone_speaks(together):
    starts = [line for line in together.stdout.splitlines() if "(asked for), attention" in line]
    assert len(starts) == len(CURVES) + 4
    bars = [part for part in together.stderr.replace("\r", "\n").splitlines() if part.startswith("training: 100%")]
    # A bar is as wide as what stands beside it leaves room for: what counts is its steps.
    assert len({part.split("|")[2].split("[")[0] for part in bars}) <= len(CURVES) and bars


def test_an_interrupted_run_goes_on_in_both(space, together, alone):
    """From the second epoch on."""
    assert together.stdout.count("Going on from checkpoint-6") == 1
    folder = space.run("interrupted")
    check_same(alone[INTERRUPTED], folder)
    assert load(folder / "result.json")["resumed_from"] == 6


def test_the_backend_for_several_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    card = Accelerator("cuda", "NVIDIA A100-SXM4-40GB", 39.6, 2, True)
    backend, why = backends.choose(replace(TrainConfig(), load_in_4bit=True), card)
    assert backend == "trl" and "4-bit" in why and "Unsloth" in why


if __name__ == "__main__":
    nan, interrupted, full, *paths = map(Path, sys.argv[1:])
    sys.exit(in_each_process(paths, nan, interrupted, full))
