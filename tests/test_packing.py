"""From the mixture's rows to the batches of the real trainer: each token arrives, with its label, and sees its own row.

By source, the tokens and the labels of one epoch's batches are those that the audit states, packed or padded. Packed
rows do not see each other, and a step on a packed batch is the step on its rows one by one.

Plain TRL runs here. Unsloth patches transformers for the whole process, so it runs in a process of its own, which
imports this file and calls `scenario`.
"""

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from processes import in_a_process_of_its_own

from ftlib import sample
from ftlib.audit import RAW_SOURCES
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError
from ftlib.mixture import Mixture, MixtureConfig, build_mixture, split_of
from ftlib.settings import TrainConfig
from ftlib.train import build_trainer, load_model, train
from ftlib.workspace import write_json

CONFIG = TrainConfig(
    max_length=96,
    lora_r=4,
    lora_alpha=8,
    per_device_train_batch_size=2,
    optim="adamw_torch_fused",
    precision="fp32",
    packing=True,
    checkpoint_layers=0,
    backend="trl",
    save_steps=0,
)
MIXTURE = MixtureConfig(max_length=96, overlap=8, loss_on="assistant", overflow="cut", repeats={"page_qa": 2})


# So small a model is slower on several threads.
pytestmark = pytest.mark.usefixtures("one_thread")


def make_mixture(tokenizer, number: int = 360, **settings) -> Mixture:
    """Documents of all sources, of one chunk to many, and chats about them; a tenth of both is held out."""
    chance = random.Random(0)
    words = " ".join(row["answer"] for row in sample.questions("questions")).split()

    def text(least: int, most: int) -> str:
        return " ".join(chance.choice(words) for _ in range(chance.randint(least, most)))

    documents, chats = [], []
    for n in range(number):
        source, path = RAW_SOURCES[n % len(RAW_SOURCES)], f"part/{n}.py"
        body = "\n".join(text(4, 12) for _ in range(chance.choice((1, 2, 5, 9, 30))))
        documents.append({"id": f"{source}:{n}", "source": source, "title": f"Title {n}", "path": path, "text": body})
        code = f"As of May, {path} looks like:\n\n```\n{body}\n```"
        for method, answer in (("page_qa", text(3, 20)), ("file_snapshot", code)):
            question = {"role": "user", "content": f"What about {method} {n}?"}
            chats.append(
                {
                    "id": f"{method}:{n}",
                    "messages": [question, {"role": "assistant", "content": answer}],
                    "method": method,
                    "document_id": f"{source}:{n}",
                    "split": split_of(f"{source}:{n}"),
                }
            )
    return build_mixture(documents, chats, tokenizer, replace(MIXTURE, **settings))


def pieces(batch) -> list[slice]:
    """Where each row lies in a packed batch: its positions begin anew there."""
    assert set(batch) == {"input_ids", "labels", "position_ids"} and len(batch["input_ids"]) == 1
    positions = batch["position_ids"][0].tolist()
    starts = [index for index, position in enumerate(positions) if position == 0]
    found = [slice(start, end) for start, end in zip(starts, [*starts[1:], len(positions)], strict=True)]
    assert all(positions[piece] == list(range(piece.stop - piece.start)) for piece in found)
    return found


def sequences(batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ids and labels of each row of a batch, with no padding."""
    ids, labels = batch["input_ids"], batch["labels"]
    assert ids.shape == labels.shape
    if "position_ids" in batch:
        return [(tuple(ids[0, piece].tolist()), tuple(labels[0, piece].tolist())) for piece in pieces(batch)]
    masks = batch["attention_mask"].bool()
    assert (labels[~masks] == IGNORE).all()
    return [(tuple(i[m].tolist()), tuple(label[m].tolist())) for i, label, m in zip(ids, labels, masks, strict=True)]


def epoch(trainer) -> dict:
    """What the trainer's own loader and collator make of one epoch."""
    batches = list(trainer.get_train_dataloader())
    return {
        "packing": trainer.args.packing,
        "names": sorted({name for batch in batches for name in batch}),
        "sequences": [row for batch in batches for row in sequences(batch)],
    }


def scenario(model: Path, folder: Path) -> None:
    """One epoch's batches by Unsloth, into results.json."""
    config = replace(CONFIG, model=str(model), backend="unsloth")
    loaded, tokenizer = load_model(config)
    trainer = build_trainer(loaded, tokenizer, make_mixture(tokenizer).train, config, folder)
    write_json(folder / "results.json", epoch(trainer))


@pytest.fixture(scope="module")
def config(tiny_model):
    return replace(CONFIG, model=str(tiny_model))


def load_strong(config):
    """The tiny model, its adapter and all its projections made strong: what leaked between rows would show."""
    import torch

    model, tokenizer = load_model(config)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "_proj" in name:
            torch.nn.init.normal_(weight, std=0.4)
    return model, tokenizer


@pytest.fixture(scope="module")
def loaded(config):
    return load_strong(config)


@pytest.fixture(scope="module")
def mixture(loaded):
    return make_mixture(loaded[1])


def by_trl(config, loaded, mixture, folder: Path, packing: bool) -> dict:
    return epoch(build_trainer(loaded[0], loaded[1], mixture.train, replace(config, packing=packing), folder))


@pytest.fixture(scope="module")
def packed(config, loaded, mixture, tmp_path_factory):
    return by_trl(config, loaded, mixture, tmp_path_factory.mktemp("packed"), True)


@pytest.fixture(scope="module")
def padded(config, loaded, mixture, tmp_path_factory):
    return by_trl(config, loaded, mixture, tmp_path_factory.mktemp("padded"), False)


@pytest.fixture(scope="module")
def unsloth(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unsloth")
    code = "import sys; from pathlib import Path; import test_packing as t; t.scenario(*map(Path, sys.argv[1:]))"
    in_a_process_of_its_own(code, folder, str(tiny_model), str(folder))
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {**found, "sequences": [(tuple(ids), tuple(labels)) for ids, labels in found["sequences"]]}


@pytest.fixture(params=["packed", "padded", "unsloth"])
def run(request):
    """One epoch's batches, made in each of the three ways."""
    return request.getfixturevalue(request.param)


# --- every token, by source -------------------------------------------------------------------------------------------


def rows_of(mixture) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(row["source"], tuple(row["input_ids"]), tuple(row["labels"])) for row in mixture.train]


def test_the_mixture_has_what_can_go_wrong(mixture):
    rows = rows_of(mixture)
    assert {source for source, *_ in rows} == {*RAW_SOURCES, "page_qa", "file_snapshot"}
    # TRL packs a thousand rows at a time: the loss at the end of such a batch would show.
    assert len(rows) > 1000 and len(mixture.validation) > 50
    lengths = [len(ids) for _, ids, _ in rows]
    assert lengths.count(96) > 100 and min(lengths) < 30 and max(lengths) == 96
    chunks = Counter(row["document_id"] for row in mixture.train if row["source"] in RAW_SOURCES)
    assert max(chunks.values()) > 4 and min(chunks.values()) == 1
    assert max(entry["truncated"] for entry in mixture.audit) > 100
    # Ids stand for one row: only what is repeated on purpose is there twice.
    copies = Counter((source, ids) for source, ids, _ in rows)
    assert len({ids for _, ids in copies}) == len(copies)
    assert all(number == MIXTURE.repeats.get(source, 1) for (source, _), number in copies.items())
    for entry in mixture.audit:
        assert 0 < entry["tokens_with_loss"] < entry["tokens"] - entry["rows"], "no source is without masked tokens"


def test_rows_are_packed_where_the_backend_can(packed, padded, unsloth):
    assert (packed["packing"], packed["names"]) == (True, ["input_ids", "labels", "position_ids"])
    for run in (padded, unsloth):
        assert (run["packing"], run["names"]) == (False, ["attention_mask", "input_ids", "labels"])


def test_no_token_is_lost_and_none_comes_twice(run, mixture):
    rows = rows_of(mixture)
    assert Counter(ids for ids, _ in run["sequences"]) == Counter(ids for _, ids, _ in rows)
    sources = {ids: source for source, ids, _ in rows}
    found: Counter[str] = Counter()
    for ids, _ in run["sequences"]:
        found[sources[ids]] += len(ids)
    assert found == {entry["source"]: entry["tokens"] for entry in mixture.audit}


def test_every_label_arrives(run, mixture):
    """A packed row's first label is masked: the row before would predict it. Nothing predicts it in a padded one."""
    rows = rows_of(mixture)
    sources = {ids: source for source, ids, _ in rows}
    found: Counter[str] = Counter()
    for ids, labels in run["sequences"]:
        assert all(label in (IGNORE, token) for token, label in zip(ids, labels, strict=True))
        found[sources[ids]] += sum(label != IGNORE for label in labels[0 if run["packing"] else 1 :])
    assert found == {entry["source"]: entry["tokens_with_loss"] for entry in mixture.audit}
    expected = Counter((ids, labels[1:]) for _, ids, labels in rows)
    assert Counter((ids, labels[1:]) for ids, labels in run["sequences"]) == expected


# --- packed rows are strangers ----------------------------------------------------------------------------------------


@pytest.fixture(params=["sdpa", "eager"])
def packed_batch(request, config, loaded, mixture, tmp_path):
    """The model of a trainer, by both kinds of attention, and a batch of its loader."""
    model = loaded[0]
    before = model.config._attn_implementation
    assert before in ("sdpa", "eager"), "the default is neither of those tested"
    trainer = build_trainer(loaded[0], loaded[1], mixture.train, config, tmp_path)
    batch = next(batch for batch in trainer.get_train_dataloader() if len(pieces(batch)) > 3)
    model.get_base_model().set_attn_implementation(request.param)
    assert model.config._attn_implementation == request.param
    yield trainer.model.eval(), batch
    model.get_base_model().set_attn_implementation(before)


def logits(model, batch, **changes):
    import torch

    with torch.inference_mode():
        return model(**{**batch, **changes}).logits[0]


def moved(model, batch, piece: slice, **more):
    """By how much each position's logits change when all tokens of one row do."""
    ids = batch["input_ids"].clone()
    ids[0, piece] = (ids[0, piece] + 1000) % model.config.vocab_size
    return (logits(model, batch, input_ids=ids, **more) - logits(model, batch, **more)).abs().amax(-1)


def test_a_packed_row_does_not_see_the_others(packed_batch):
    model, batch = packed_batch
    for piece in pieces(batch):
        change = moved(model, batch, piece)
        assert change[piece].min() > 0.1
        change[piece] = 0
        assert change.max() < 1e-5


def test_a_leak_would_be_seen(packed_batch):
    """Numbered through, the packed ids are one text: what comes later sees what came before."""
    import torch

    model, batch = packed_batch
    through = torch.arange(batch["input_ids"].shape[1])[None]
    first, *others = pieces(batch)
    change = moved(model, batch, first, position_ids=through)
    assert all(change[piece].max() > 0.1 for piece in others)
    apart = (logits(model, batch, position_ids=through) - logits(model, batch)).abs().amax(-1)
    assert apart[first].max() < 1e-5 and all(apart[piece].max() > 0.1 for piece in others)


def test_a_packed_row_is_read_as_if_alone(packed_batch):
    model, batch = packed_batch
    together = logits(model, batch)
    for piece in pieces(batch):
        alone = logits(model, {"input_ids": batch["input_ids"][:, piece]})
        assert (together[piece] - alone).abs().max() < 1e-5


def real_step(trainer):
    """The batches of the one real step that a trainer does, and the gradients that the optimizer got."""
    from transformers import TrainerCallback

    model, step = trainer.model, trainer.training_step
    batches, gradients = [], {}

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **_):
            gradients.update({name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None})

    def stepping(model, batch, *more):
        batches.append({name: values.clone() for name, values in batch.items()})
        return step(model, batch, *more)

    trainer.training_step = stepping
    trainer.add_callback(Keep())
    trainer.train()
    model.zero_grad()
    return batches, gradients


def check_step(trainer, rows, gradients, trained: int = 2 * 7 * 2) -> None:
    """The trainer's first loss and these gradients are those of the rows one by one, each token weighing the same."""
    import torch

    model = trainer.model
    kept = [sum(label != IGNORE for label in labels[1:]) for _, labels in rows]
    expected = 0.0
    for (ids, labels), number in zip(rows, kept, strict=True):
        if number:  # padding has none
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss * number / sum(kept)
            loss.backward()
            expected += loss.item()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-5)
    ours = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert ours.keys() == gradients.keys() and len(ours) == trained  # by default A and B, projections, layers
    for name, gradient in ours.items():
        assert gradient.norm() > 1e-3
        assert (gradients[name] - gradient).norm() < 1e-4 * gradient.norm(), name
    model.zero_grad()


@pytest.mark.parametrize(("order", "checkpointing"), [("mixed", False), ("mixed", True), ("raw_then_chat", False)])
def test_a_step_on_a_batch_is_the_step_on_its_rows(config, loaded, mixture, tmp_path, order, checkpointing):
    """Loss and gradients of a real step of two batches, against the rows one by one, each token weighing the same."""
    settings = replace(
        config,
        checkpoint_layers=-1 if checkpointing else 0,
        gradient_accumulation_steps=2,
        max_steps=1,
        max_grad_norm=1e9,  # no clipping
        learning_rate=1e-12,  # too little to move a weight: the model is the other tests' too
    )
    # Two of these at least fit into a packed row.
    short = [number for number, (_, ids, _) in enumerate(rows_of(mixture)) if len(ids) <= 48]
    trainer = build_trainer(loaded[0], loaded[1], mixture.train.select(short), settings, tmp_path, order)
    batches, gradients = real_step(trainer)
    assert trainer.model.is_gradient_checkpointing == checkpointing
    trainer.model.gradient_checkpointing_disable()

    rows = [row for batch in batches for row in sequences(batch)]
    if order == "mixed":
        assert len(batches) == 2 and all(len(pieces(batch)) > 2 for batch in batches)
    else:
        assert len(rows) == 4 and not all(batch["attention_mask"].all() for batch in batches)
    check_step(trainer, rows, gradients)


def test_a_packed_run_counts_its_tokens(config, tmp_path):
    model, tokenizer = load_model(config)  # a fresh adapter, which `train` asks for
    mixture = make_mixture(tokenizer, 4)
    result = train(build_trainer(model, tokenizer, mixture.train, config, tmp_path), config, tmp_path)
    assert result["tokens"] == sum(entry["tokens"] for entry in mixture.audit)
    assert result["steps"] < len(mixture.train) / 2, "it was not packed"


# --- what is not packed -----------------------------------------------------------------------------------------------


def test_a_row_that_packing_would_cut_is_refused(config, loaded, mixture, tmp_path):
    """TRL's packing drops what is over max_length, and says nothing."""
    with pytest.raises(SetupError, match="A row has 96 tokens, max_length is 95"):
        build_trainer(loaded[0], loaded[1], mixture.train, replace(config, max_length=95), tmp_path)


def test_raw_then_chat_is_not_packed(config, loaded, tmp_path):
    mixture = make_mixture(loaded[1], 24, order="raw_then_chat")
    found = epoch(build_trainer(loaded[0], loaded[1], mixture.train, config, tmp_path, "raw_then_chat"))
    assert not found["packing"] and "position_ids" not in found["names"]
    assert [ids for ids, _ in found["sequences"]] == [ids for _, ids, _ in rows_of(mixture)]
    sources = [source in RAW_SOURCES for source, *_ in rows_of(mixture)]
    assert sources == sorted(sources, reverse=True) and len(set(sources)) == 2
