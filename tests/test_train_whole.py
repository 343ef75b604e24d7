"""Weights that are trained whole: embedding and head beside LoRA, and all weights of a small model; and fp16's scaler.

The reference is a plain Llama that holds the trained weights, or plain TRL.
"""

import json
import math
import random
from dataclasses import replace
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
from test_compiled import documents
from test_packing import CONFIG as PACKED
from test_packing import check_step, real_step, sequences
from test_train import CONFIG, Stopped, adapter, load
from test_train_run import held_out_mixture

from ftlib import adapters, export, inference
from ftlib.chunking import IGNORE
from ftlib.errors import LossIsNaN, SetupError
from ftlib.runtime import Accelerator
from ftlib.settings import changed, check_config
from ftlib.train import build_trainer, load_model, save_run, train
from ftlib.training import compiled, estimates, flops, lora, planner, whole
from ftlib.workspace import read_jsonl, write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
FULL: dict[str, Any] = {"method": "full"}
EMBEDDINGS: dict[str, Any] = {"train_embeddings": True}
KINDS = pytest.mark.parametrize("kind", [FULL, EMBEDDINGS], ids=["full", "embeddings"])
MATRICES = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def models(tiny_model, smollm, tmp_path_factory):
    """Two-layer Llamas, head and embedding apart or tied; of few words, and one with all of the tokenizer's."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    folders = {}
    for name, tied, words in (("apart", False, 512), ("tied", True, 512), ("whole", True, len(smollm))):
        folders[name] = str(tmp_path_factory.mktemp(name))
        config = LlamaConfig.from_pretrained(tiny_model, tie_word_embeddings=tied, vocab_size=words)
        set_seed(1)
        LlamaForCausalLM(config).save_pretrained(folders[name])
        smollm.save_pretrained(folders[name])
    return folders


def make_rows(number: int) -> list[dict[str, list[int]]]:
    """Rows of 5 to 48 tokens that few words are enough for, a part of them without loss."""
    chance = random.Random(0)
    rows = []
    for _ in range(number):
        ids = [3 + int(509 * chance.random() ** 4) for _ in range(chance.randrange(5, 49))]  # some words are frequent
        rows.append({"input_ids": ids, "labels": [IGNORE if chance.random() < 0.3 else token for token in ids]})
    return rows


def ends(model):
    """Weights of embedding and head, as the model computes with them now."""
    base = model.get_base_model()
    return base.get_input_embeddings().weight, base.get_output_embeddings().weight


def plain(name, model=None):
    """A plain Llama: the base, or with the weights that a PEFT model trains whole in place of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(name)
    if model is not None:
        mine = dict(base.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for path, wrapper in whole.wrappers(model.get_base_model()).items():
                for part, weight in wrapper.modules_to_save["default"].named_parameters():
                    mine[f"{path}.{part}"].copy_(weight)
    return base


def shake(model):
    """Move all that is trained, so that it is not what the base has."""
    import torch

    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.3)


# --- a model ----------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(("backend", "name"), [("trl", "apart"), ("compiled", "apart"), ("compiled", "tied")])
def test_a_fresh_one_is_the_base_and_trains_what_it_should(models, kind, backend, name):
    import torch

    model, _ = load_model(replace(CONFIG, **kind, model=models[name], backend=backend))
    reference = plain(models[name])
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.allclose(model(input_ids=ids).logits, reference(input_ids=ids).logits, atol=1e-5)
    embedding, head = ends(model)
    assert (embedding is head) == (name == "tied")
    sizes = {n: p.numel() for n, p in reference.named_parameters()}  # a tied weight is there once
    found = sum(p.numel() for p in model.parameters() if p.requires_grad)
    of_ends = sum(size for n, size in sizes.items() if "embed" in n or "lm_head" in n)
    of_lora = 2 * 4 * (2 * 64 + 2 * 48 + 3 * 96)
    assert found == (sum(sizes.values()) if kind == FULL else of_ends + of_lora)
    assert not whole.is_trained(model)
    shake(model)
    assert whole.is_trained(model)
    with torch.no_grad(), model.disable_adapter():
        assert torch.allclose(model(input_ids=ids).logits, reference(input_ids=ids).logits, atol=1e-5)
        assert not any(weight.requires_grad for weight in ends(model))
    with torch.no_grad():
        after = model(input_ids=ids).logits
    assert (after - reference(input_ids=ids).logits).abs().max() > 0.1
    if kind == FULL:
        assert torch.allclose(after, plain(models[name], model)(input_ids=ids).logits, atol=1e-4)


@KINDS
@pytest.mark.parametrize("name", ["apart", "tied"])
def test_a_base_in_16_bits_is_computed_as_it_was(models, kind, name):
    """Copies in fp32, states and products in bf16: what a card does, here without one; under autocast and without."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = replace(CONFIG, **kind, model=models[name])
    base, reference = (AutoModelForCausalLM.from_pretrained(models[name], dtype=torch.bfloat16) for _ in range(2))
    options = whole.lora_options(config, base, {"r": 4, "target_modules": sorted(MATRICES)})
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
    whole.prepare(model, config)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    causal = model.get_base_model()
    widths = set()
    for module in (causal.model.layers[1], causal.model.norm, causal.model.embed_tokens):
        module.register_forward_hook(lambda _m, _i, out: widths.add(out.dtype))
    ids = torch.arange(5, 37)[None]
    wanted = reference(input_ids=ids, labels=ids)
    for autocast in (False, True):
        if not autocast:  # PEFT's own layers want it; ours don't
            lora.fuse(model)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = model(input_ids=ids, labels=ids)
        assert torch.equal(found.logits, wanted.logits) and widths == {torch.bfloat16}
    compiled.prepare(model, 0)
    batch = {"input_ids": ids, "labels": ids, "position_ids": torch.arange(32)[None]}
    loss = causal(**batch, starts=torch.zeros(32, dtype=torch.int32), items=torch.tensor(31.0))["loss"]
    assert loss.item() == pytest.approx(wanted.loss.item(), rel=1e-3)
    loss.backward()
    wanted.loss.backward()
    embedding, head = ends(model)
    for mine, theirs in ((embedding, reference.model.embed_tokens.weight), (head, reference.lm_head.weight)):
        assert mine.grad.dtype == torch.float32
        assert (mine.grad - theirs.grad).norm() < 0.03 * theirs.grad.norm()
    # A step too small for bf16 is kept.
    with torch.no_grad():
        head.add_(head.abs().clamp(min=1e-3), alpha=2**-12)
    assert whole.is_trained(model)


@pytest.mark.parametrize("name", ["apart", "tied"])
def test_scaled_is_base_and_a_share_of_what_was_learned(models, name):
    import torch

    model, _ = load_model(replace(CONFIG, **FULL, model=models[name]))
    before = plain(models[name]).state_dict()
    shake(model)
    trained = plain(models[name], model).state_dict()
    whole.scale(model, 0.25)
    scaled = plain(models[name], model).state_dict()
    for key, weight in before.items():
        assert torch.allclose(scaled[key], weight + 0.25 * (trained[key] - weight), atol=1e-6), key
        assert not torch.equal(trained[key], weight)


# --- a step -----------------------------------------------------------------------------------------------------------


def a_step(config, folder):
    """A trainer after one real step from a model that is not its base any more, the step's batches and gradients."""
    model, tokenizer = load_model(config)
    shake(model)
    trainer = build_trainer(model, tokenizer, make_rows(30), config, folder)
    return trainer, *real_step(trainer)


@KINDS
@pytest.mark.parametrize(("backend", "name"), [("compiled", "apart"), ("compiled", "tied"), ("trl", "tied")])
def test_a_step_is_the_step_on_its_rows(models, kind, backend, name, tmp_path):
    """Loss and gradients of two packed batches, against rows one by one through PEFT's own wrappers.

    Tied: with all layers computed again.
    """
    config = replace(
        PACKED,
        **kind,
        model=models[name],
        backend=backend,
        checkpoint_layers=-1 if name == "tied" else 0,
        gradient_accumulation_steps=2,
        max_steps=1,
        max_grad_norm=1e9,
        learning_rate=1e-12,
    )
    trainer, seen, gradients = a_step(config, tmp_path)
    again = [layer.gradient_checkpointing for layer in trainer.model.get_base_model().model.layers]
    assert again == [name == "tied"] * 2
    trainer.model.gradient_checkpointing_disable()
    for wrapper in whole.wrappers(trainer.model).values():
        wrapper.forward = MethodType(type(wrapper).forward, wrapper)
    read = documents if backend == "compiled" else sequences
    rows = [row for batch in seen for row in read(batch)]
    assert len(seen) == 2 and len(rows) > 4
    of_ends = 2 if name == "apart" else 1
    check_step(trainer, rows, gradients, of_ends + (2 * (7 + 2) + 1 if kind == FULL else 2 * 7 * 2))


@KINDS
def test_both_backends_learn_the_same(models, kind, tmp_path):
    def curve(backend):
        settings = replace(PACKED, **kind, model=models["tied"], backend=backend, learning_rate=3e-2, max_steps=6)
        model, tokenizer = load_model(settings)
        assert model.ftlib_path["backend"] == backend
        trainer = build_trainer(model, tokenizer, make_rows(60), settings, tmp_path / backend)
        train(trainer, settings, tmp_path / backend)
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    ours, theirs = curve("compiled"), curve("trl")
    assert ours == pytest.approx(theirs, rel=1e-4) and ours[-1] < ours[0] - 0.05


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[("trl", EMBEDDINGS), ("compiled", {**FULL, **EMBEDDINGS, "embedding_learning_rate": 3e-3})],
    ids=["embeddings", "full"],
)
def run(request, models, tmp_path_factory):
    """A run on a tied model: its trainer, result, folder, config, and the rates at each step."""
    from transformers import TrainerCallback

    backend, kind = request.param
    config = replace(
        CONFIG, **kind, model=models["whole"], backend=backend, learning_rate=1e-2, adapter_scale=0.5, eval_steps=0
    )
    config = replace(config, max_steps=6, eval_tokens=400)
    folder = tmp_path_factory.mktemp("space") / "runs" / "one"
    model, tokenizer = load_model(config)
    *_, mixture = held_out_mixture(tokenizer)
    trainer = build_trainer(model, tokenizer, mixture.train, config, folder)
    rates = []

    class Rates(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **_):
            own = {id(weight) for weight in ends(model)}
            groups = [group for group in trainer.optimizer.param_groups if group["params"]]
            rates.append({any(id(w) in own for w in g["params"]): g["lr"] for g in groups})
            assert sum(id(w) in own for g in groups for w in g["params"]) == 1, "a weight is there twice or not at all"

    trainer.add_callback(Rates())
    result = train(trainer, config, folder, mixture=mixture)
    save_run(folder, trainer, config, mixture, result)
    write_manifest(folder, stage="03_train", settings={}, counts={})
    return SimpleNamespace(
        trainer=trainer, result=result, folder=folder, config=config, rates=rates, mixture=mixture, tokenizer=tokenizer
    )


def test_embedding_and_head_have_their_own_rate(run):
    steps = run.result["steps"]
    shape = [(1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    own = 3e-3 if run.config.method == "full" else 1e-3
    assert [rate[True] for rate in run.rates] == pytest.approx([own * part for part in shape])
    assert [rate[False] for rate in run.rates] == pytest.approx([1e-2 * part for part in shape])
    logged = [entry["learning_rate"] for entry in read_jsonl(run.folder / "log.jsonl")]
    assert logged == pytest.approx([1e-2 * part for part in shape])
    embedding, head = ends(run.trainer.model)
    assert embedding is head and whole.is_trained(run.trainer.model)


def test_both_ends_have_the_rate_where_they_are_two(models, tmp_path):
    config = replace(CONFIG, **EMBEDDINGS, model=models["apart"], learning_rate=1e-2)
    model, tokenizer = load_model(config)
    trainer = build_trainer(model, tokenizer, make_rows(4), config, tmp_path)
    optimizer = trainer.create_optimizer()
    assert trainer.create_optimizer() is optimizer
    groups = [group for group in optimizer.param_groups if group["params"]]
    assert [(group["lr"], len(group["params"])) for group in groups] == [(1e-2, 2 * 7 * 2), (pytest.approx(1e-3), 2)]
    assert {id(weight) for weight in groups[1]["params"]} == {id(weight) for weight in ends(model)}


def test_the_record_tells_the_method(run):
    resolved = load(run.folder / "resolved.json")
    card = (run.folder / "adapter" / "README.md").read_text()
    assert resolved["method"] == run.config.method and resolved["dtypes"]["trainable"] == ["torch.float32"]
    if run.config.method == "full":
        norms = {"norm", "input_layernorm", "post_attention_layernorm"}
        assert set(resolved["trained_whole"]) == {*MATRICES, *norms, "embed_tokens", "lm_head"}
        assert resolved["lora"] is None and "all weights, saved whole" in card and "LoRA" not in card
        assert "- lora\n" not in card
    else:
        assert resolved["trained_whole"] == ["embed_tokens", "lm_head"] and resolved["lora"]["r"] == 4
        assert "LoRA on all seven projections, r = 4, alpha = 8; embed_tokens, lm_head whole" in card
    own = 3e-3 if run.config.method == "full" else 1e-3
    assert set(resolved["peak_learning_rates"]) == {0.01, own} and f"0.01 (embedding and head {own:g}), cosine" in card


def test_base_and_tuned_are_what_was_measured(run):
    """Before and after in the run, by `load_arms` from its files, and by a plain model: one and the same."""
    model, _, settings = inference.load_arms(run.folder)
    assert settings["method"] == run.config.method
    embedding, head = ends(model)
    assert embedding is head
    groups = inference.held_out(run.mixture.validation, run.config.eval_tokens)
    for name, rows in groups.items():
        for arm, when in (("base", "before"), ("tuned", "after")):
            with inference.arm(model, arm):
                found = inference.token_loss(model, rows, 0)["loss"]
            assert found == pytest.approx(run.result[when][name]["loss"], rel=1e-5)
        if run.config.method == "full":
            merged = plain(run.config.model, run.trainer.model)
            assert inference.token_loss(merged, rows, 0)["loss"] == pytest.approx(found, rel=1e-5)
        assert run.result["after"][name]["loss"] < run.result["before"][name]["loss"] - 0.01


def test_saved_checked_and_merged(run, models):
    import torch
    from transformers import AutoModelForCausalLM

    stored = adapter(run.folder)
    (embedding, head) = (stored[f"base_model.model.{name}.weight"] for name in ("model.embed_tokens", "lm_head"))
    assert torch.equal(embedding, head) and embedding.dtype == torch.float32
    assert torch.equal(embedding, ends(run.trainer.model)[0])
    adapters.check_base(run.folder, models["whole"])
    record = export.merge(run.folder, dtype="fp32", prompts=["What?"])
    assert record["tied"] and record["agree"] == 1 and record["max_logprob_difference"] < 1e-4
    merged = AutoModelForCausalLM.from_pretrained(run.folder / "merged")
    assert merged.lm_head.weight is merged.model.embed_tokens.weight
    assert torch.equal(merged.lm_head.weight, embedding)
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        tuned = run.trainer.model.eval()(input_ids=ids).logits
        assert torch.allclose(merged(input_ids=ids).logits, tuned, atol=1e-4)
    if run.config.method == "full":
        assert len(stored) == len(merged.state_dict()) and not any("lora" in name for name in stored)


def test_an_interrupted_run_goes_on_to_the_same_end(models, tmp_path):
    import torch
    from transformers import TrainerCallback

    both = {**FULL, **EMBEDDINGS, "embedding_learning_rate": 3e-2}
    config = replace(CONFIG, **both, model=models["tied"], backend="compiled", learning_rate=1e-2, max_steps=6)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 4:
                raise Stopped

    def go(folder, stops=False):
        model, tokenizer = load_model(config)
        trainer = build_trainer(model, tokenizer, make_rows(20), config, folder)
        if stops:
            trainer.add_callback(Stop())
        return train(trainer, config, folder)["resumed_from"], model

    _, model = go(tmp_path / "whole")
    with pytest.raises(Stopped):
        go(tmp_path / "resumed", stops=True)
    began, other = go(tmp_path / "resumed")
    assert began == 3 and whole.is_trained(other)
    found = dict(other.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.allclose(found[name], weight, atol=1e-5), name
    assert ends(other)[0] is ends(other)[1]


def test_trained_weights_are_no_fresh_start(models, tmp_path):
    config = replace(CONFIG, **FULL, model=models["tied"], save_steps=0, max_steps=1)
    model, tokenizer = load_model(config)
    train(build_trainer(model, tokenizer, make_rows(4), config, tmp_path), config, tmp_path)
    with pytest.raises(SetupError, match="trained before .*call load_model again"):
        train(build_trainer(model, tokenizer, make_rows(4), config, tmp_path), config, tmp_path)


# --- fp16 -------------------------------------------------------------------------------------------------------------


def scaled_trainer(config, folder, scale):
    """A trainer with a real GradScaler, as on a card in fp16, here in fp32; and a weight of its adapter."""
    import torch

    model, tokenizer = load_model(config)
    trainer = build_trainer(model, tokenizer, make_rows(24), config, folder)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return trainer, next(weight for name, weight in model.named_parameters() if "lora_B" in name)


def test_the_scalers_first_steps_do_not_stop_a_run(models, tmp_path):
    config = replace(CONFIG, model=models["apart"], max_grad_norm=1e30, save_steps=0, max_steps=6)
    trainer, weight = scaled_trainer(config, tmp_path, 65536.0)
    over = iter([math.inf, math.inf])
    weight.register_hook(lambda gradient: gradient + next(over, 0.0))  # out of fp16's range at the first two scales
    result = train(trainer, config, tmp_path)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [math.isfinite(entry["grad_norm"]) for entry in log] == [False, False, True, True, True, True]
    assert result["steps"] == 6 and all(math.isfinite(entry["loss"]) for entry in log)
    assert trainer.accelerator.scaler.get_scale() == 65536 / 4 and whole.is_trained(trainer.model)


@pytest.mark.parametrize(("scale", "poison"), [(65536.0, "loss"), (0.5, "gradient")])
def test_nan_stops_a_scaled_run_all_the_same(models, tmp_path, scale, poison):
    """A loss that is no number; and a gradient that is none though it is not scaled up, which no scaler mends."""
    config = replace(CONFIG, model=models["apart"], save_steps=0)
    trainer, weight = scaled_trainer(config, tmp_path, scale)
    if poison == "loss":
        next(w for name, w in trainer.model.named_parameters() if "lora_A" in name).data.fill_(math.nan)
    else:
        weight.register_hook(lambda gradient: gradient + math.inf)
    with pytest.raises(LossIsNaN, match="at step 1;"):
        train(trainer, config, tmp_path)


def test_fp16_arrives_in_the_trainer(models, tmp_path, monkeypatch):
    from trl import SFTConfig

    model, tokenizer = load_model(replace(CONFIG, model=models["apart"]))
    asked = []

    def stop(self):
        asked.append((self.fp16, self.bf16))
        raise Stopped

    monkeypatch.setattr(SFTConfig, "__post_init__", stop)
    for change, wanted in (({"precision": "fp16"}, (True, False)), ({"precision": "bf16"}, (False, True))):
        with pytest.raises(Stopped):
            build_trainer(model, tokenizer, [], changed(CONFIG, change), tmp_path)
        assert asked.pop() == wanted


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "qlora"}, "method='qlora' is unknown: use 'lora' or 'full'"),
        ({**FULL, "backend": "unsloth"}, "backend='unsloth' does not take method='full'"),
        ({**EMBEDDINGS, "backend": "unsloth"}, "does not take train_embeddings here: set backend='auto'"),
        ({**FULL, "load_in_4bit": True}, "set load_in_4bit=False"),
        ({**EMBEDDINGS, "backend": "compiled", "lora_dropout": 0.1}, "nor dropout: set backend='trl'"),
        ({"embedding_learning_rate": 1e-5}, "used with train_embeddings=True only"),
        ({**EMBEDDINGS, "embedding_learning_rate": -1.0}, "must not be negative"),
        ({"precision": "fp8"}, "precision='fp8' is unknown"),
        ({"backend": "compiled", "precision": "bf16"}, "takes precision='fp32' only"),
        ({"precision": "fp16"}, "precision='fp16' needs a GPU"),
        ({"precision": "fp16", "backend": "compiled"}, "takes no fp16"),
    ],
)
def test_wrong_settings(change, reason):
    with pytest.raises(SetupError, match=reason):
        check_config(replace(CONFIG, **change))


def test_full_training_ignores_what_is_loras():
    loras = {"backend": "compiled", "lora_r": 0, "lora_dropout": 0.5}
    check_config(changed(CONFIG, FULL | loras))
    with pytest.raises(SetupError, match="lora_r=0"):
        check_config(changed(CONFIG, loras))
    with pytest.raises(SetupError, match="neither 4-bit weights nor dropout"):
        check_config(changed(CONFIG, loras | {"lora_r": 8}))


def test_a_large_model_is_not_trained_in_full(tiny_model, tmp_path):
    values = json.loads((tiny_model / "config.json").read_text())
    values |= {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 12, "num_attention_heads": 32}
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = replace(CONFIG, **FULL, model=str(tmp_path))
    for ask in (load_model, lambda config: planner.fit(config, Accelerator("cuda", "NVIDIA H100", 79.0, 1, True))):
        with pytest.raises(SetupError, match=r"has 2\.5 billion weights; .*Set method='lora'"):
            ask(config)


# --- memory and work --------------------------------------------------------------------------------------------------

SMOLLM2 = flops.Shape(30, 576, 576, 192, 1536, 49152, True)
GIB = 2**30


def test_work_of_whole_weights():
    """By hand: two operations a weight and pass; three passes of what is trained, two of what is frozen."""
    config = replace(CONFIG, lora_r=8)
    layers, head, attention = 2 * 106_168_320, 2 * 28_311_552, 4 * 30 * 576 * 100
    a = 2 * SMOLLM2.adapter_weights(8)
    for kind, model, again in (
        ({}, 2 * layers + 2 * head + 3 * (a + attention), layers + a + attention),
        (EMBEDDINGS, 2 * layers + 3 * head + 3 * (a + attention), layers + a + attention),
        (FULL, 3 * (layers + head + attention), layers + attention),
    ):
        assert flops.work_of(SMOLLM2, replace(config, **kind), 100, 0) == (model, model)
        assert flops.work_of(SMOLLM2, replace(config, **kind), 100, 15) == (model, model + again / 2)


def test_memory_of_whole_weights():
    config = replace(CONFIG, precision="bf16", max_length=16, lora_r=8, checkpoint_layers=-1)
    inner, end = 106_168_320, 28_311_552
    parts = estimates.memory(SMOLLM2, replace(config, **FULL), "compiled")
    assert parts["base weights"] == pytest.approx(2 * (inner + end) / GIB)
    assert parts["adapter"] == pytest.approx(4 * (inner + end) / GIB)
    assert parts["optimizer"] == pytest.approx(8 * (inner + end) / GIB)
    # So few tokens: the top is where the embedding's gradient is added to the head's.
    assert parts["gradients"] == pytest.approx(4 * (inner + end) / GIB)
    assert parts["work space"] == pytest.approx(4 * end / GIB)
    eight = estimates.memory(SMOLLM2, replace(config, **FULL, optim="adamw_8bit"), "compiled")
    assert eight["optimizer"] == pytest.approx((inner * (2 + 8 / 256) + 8 * end) / GIB)
    lora_alone, both = (estimates.memory(SMOLLM2, replace(config, **kind), "trl") for kind in ({}, EMBEDDINGS))
    assert both["adapter"] - lora_alone["adapter"] == pytest.approx(4 * end / GIB)
    assert both["optimizer"] - lora_alone["optimizer"] == pytest.approx(8 * end / GIB)
    assert both["gradients"] - lora_alone["gradients"] == pytest.approx(4 * end / GIB)
    apart = estimates.memory(replace(SMOLLM2, tied=False), replace(config, **EMBEDDINGS), "trl")
    assert apart["adapter"] - lora_alone["adapter"] == pytest.approx(2 * 4 * end / GIB)
    # A longer step: the top is at the loss, where the head's gradient is there twice.
    for kind in ({}, EMBEDDINGS):
        parts = estimates.memory(SMOLLM2, replace(config, **kind, max_length=2048, checkpoint_layers=0), "compiled")
        assert parts["gradients"] >= (4 * end / GIB if kind else 0)
    assert estimates.memory(SMOLLM2, replace(config, precision="fp16"), "trl") == estimates.memory(
        SMOLLM2, config, "trl"
    )
    # `auto` takes plain TRL where compiled blocks can't: all layers again, or none.
    some = replace(config, **EMBEDDINGS, backend="auto", checkpoint_layers=3)
    assert (estimates.recomputed(some, 30, "trl"), estimates.recomputed(some, 30, "compiled")) == (30, 3)


def test_time_counts_the_optimizers_weights():
    config = replace(CONFIG, precision="bf16", lora_r=8)
    times = [
        estimates.seconds_per_token(SMOLLM2, replace(config, **kind), "compiled", 1e15, 100, 64)
        for kind in ({}, EMBEDDINGS, FULL)
    ]
    assert times == sorted(times) and times[2] > 2 * times[0]
