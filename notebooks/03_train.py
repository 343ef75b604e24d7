# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: A100
#     provenance: []
#   jupytext:
#     notebook_metadata_filter: accelerator,colab
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 3 · Train: raw text and chats in one run
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ftlib/ftlib/blob/main/notebooks/03_train.ipynb)
#
# | reads | writes | time |
# | --- | --- | --- |
# | `documents.jsonl`, `chats.jsonl` | `runs/<name>/`: adapter, settings, audit, losses; `sweeps/<name>/` | 1.3 minutes a million tokens on an H100 (measured), about 4 on an A100 40 GB (estimate); 4 minutes for the sample on 2 CPU cores |
#
# LoRA on all seven projections. On a GPU with room: Mistral 7B Instruct v0.2, 8,192 tokens, r = 512, by compiled blocks
# or Unsloth, whichever is faster there. Elsewhere: the embedded SmolLM2-135M, which shows the steps on the sample and is
# no model for real work.

# %% [markdown]
# ## Install
# Runs in Colab only; it moves neither torch nor numpy, and stops with pip's own message when it fails.

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    requirement = "ftlib[unsloth] @ git+https://github.com/ftlib/ftlib"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", requirement], check=True)

# %% [markdown]
# ## Settings

# %% tags=["parameters"]
workspace = ""  # the project's folder; empty: ./workspace, on Colab /content/ftlib
use_drive = False  # on Colab: keep the workspace on your Drive, so that it outlives the runtime
model = ""  # a hub id, a folder, or "demo"; empty: by this machine
run_name = "first"
order = "mixed"  # mixed, raw_then_chat, raw_only, chat_only
all_data = False  # True for the last run: train on the held-out documents too, and let run_name end in -All-Data
max_steps = 0  # a cap on the optimizer steps; 0: none
backend = "auto"  # or "compiled", "unsloth", "trl" (plain TRL + PEFT)
sweep_name = ""  # a sweep: run its trials first, or go on with them, and train with the best settings
sweep_settings = {}  # fields of SweepConfig, e.g. {"trials": (8, 4), "coarse": {"learning_rate": (1e-5, 2e-5, 4e-5)}}
train_settings = {}  # any other field of TrainConfig, e.g. {"learning_rate": 1e-5, "lora_r": 256}
mixture_settings = {}  # any other field of MixtureConfig, e.g. {"repeats": {"page_qa": 4}, "general": "chats.jsonl"}
merged = False  # True: also base and adapter as one 16-bit model, checked against the adapter
gguf = ""  # e.g. "q8_0": the merged model for llama.cpp, where its converter is at hand
hub = ""  # "owner/name": the adapter to the Hugging Face Hub, private; needs HF_TOKEN

# %%
from ftlib import runtime
from ftlib.workspace import open_workspace

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## The plan
# What fits this card, before anything is loaded: fewest layers computed twice, the faster optimizer where there is room.

# %%
from dataclasses import asdict
from pathlib import Path

from IPython.display import HTML, Image, display

from ftlib import models, plots, report, settings, templates
from ftlib.training import planner
from ftlib.workspace import is_done, read_json, read_jsonl, require, write_manifest

require(space, "documents", "chats")
machine = runtime.accelerator()
config = settings.default_config(model or models.default_model(machine.memory_gib), machine)
config = settings.changed(config, {"max_steps": max_steps, "backend": backend, **train_settings})
fitted = planner.fit(config, machine)
config = settings.changed(fitted.config, train_settings)  # what was asked for stays as it was asked for
mixing = settings.default_mixture(config)
mixing = settings.changed(mixing, {"order": order, "all_data": all_data, **mixture_settings})
print("\n".join(planner.lines(fitted)))
display(HTML(report.table(planner.table(fitted))))

# %% [markdown]
# ## Sweep (where `sweep_name` is set)
# The recipe's grid, coarse to fine, a process a trial, each round with equally many tokens. An interrupted sweep goes on
# when this cell is run again. Read some answers of the best before you believe a loss.

# %%
from ftlib.sweep import best, default_sweep, sweep
from ftlib.sweep import plots as sweep_plots

if sweep_name:
    wanted = settings.changed(default_sweep(config), {"name": sweep_name, **sweep_settings})
    held_out = settings.changed(mixing, {"all_data": False})
    rows = sweep(wanted, settings.changed(config, {"max_steps": 0}), held_out, space)
    display(HTML(report.table(rows)))
    display(Image(report.png(sweep_plots.parallel_coordinates(rows))))
    if len(wanted.coarse.get("learning_rate", ())) > 1:
        display(Image(report.png(sweep_plots.learning_rate_curve(rows))))
    config = settings.changed(config, best(space, sweep_name))

# %% [markdown]
# ## The run

# %%
folder = space.run(run_name)
plan = {"train": asdict(config), "mixture": asdict(mixing)}
inputs = {"documents": space.documents, "chats": space.chats}
if Path(mixing.general).expanduser().is_file():
    inputs["general"] = Path(mixing.general).expanduser()
done = is_done(folder, settings=plan, inputs=inputs)
trained = f"r = {config.lora_r}" if config.method == "lora" else "all weights"
print(f"{machine.name}: {config.model}, {trained}, {config.max_length:,} tokens, {config.backend}")

# %% [markdown]
# ## General chats by the base itself (where `replay_tokens` of the mixture is set)
# Against forgetting: the base asks and answers itself, in a process of its own, and is held to that in training. They are
# kept for all runs of the same model. Without a GPU the embedded model's come along.

# %%
from ftlib import replay

own = replay.records(space, config, mixing.replay_tokens)
for one in own[:3]:
    print(" -> ".join(message["content"][:60].replace("\n", " ") for message in one["messages"]))

# %% [markdown]
# ## Load the model, tokenise, mix
# Unsloth must be imported before transformers, which `load_model` sees to.

# %%
from itertools import chain, islice

from ftlib.mixture import build_mixture
from ftlib.train import PACKAGES, build_trainer, load_model, save_run, train
from ftlib.training import record

lora_model, tokenizer = (
    (None, models.load_tokenizer(config.model, config.chat_template)) if done else load_model(config)
)
if note := templates.difference(tokenizer):
    print(note)
mixture = build_mixture(read_jsonl(space.documents), chain(read_jsonl(space.chats), own), tokenizer, mixing)

# %% [markdown]
# ## What the model will see
# Tokens of one epoch, by source, counted in the rows themselves. Every token of every document is in them once, no row
# has a second BOS or an end-of-text inside, and each carries loss: otherwise the cell above stops.

# %%
display(HTML(report.audit_table(mixture.audit)))

# %% [markdown]
# A raw row and a chat row as they are trained on, token by token: green carries loss, grey does not, a frame marks the
# control tokens. Point at a token to see its id.

# %%
for wanted in (["wiki", "docs", "code"], ["page_qa", "page_instruction"]):
    rows = (row for row in mixture.train if row["source"] in wanted and len(row["input_ids"]) < 400)
    for row in islice(rows, 1):
        display(HTML(f"<b>{report.shown(row['source'])} {report.shown(row['document_id'])}</b>"))
        display(HTML(report.coloured(row, tokenizer)))

# %% [markdown]
# How long it will take, and what it costs, where the card's speed is known.

# %%
from ftlib.rows import lengths

print(planner.lines(planner.fit(config, machine, lengths(mixture.train), held=bool(own)))[-1])

# %% [markdown]
# ## Train
# An interrupted run goes on from its last checkpoint when this cell is run again. Held-out losses are sums over all
# their tokens. "general" is on short answers that have nothing to do with the data: where it rises, something is being
# forgotten; where it falls, the model learns to be short. What it still knows, 04_eval asks.

# %%
if not done:
    trainer = build_trainer(lora_model, tokenizer, mixture.train, config, folder, mixing.order)
    data = {"mixture": mixing, "inputs": space.hashes(inputs)}
    result = train(trainer, config, folder, data=data, mixture=mixture)
    save_run(folder, trainer, config, mixture, result)
    counts = {"train_rows": len(mixture.train), "validation_rows": len(mixture.validation), **result}
    write_manifest(folder, stage="03_train", settings=plan, inputs=inputs, counts=counts, packages=PACKAGES)

# %% [markdown]
# ## The run
# The losses, and the settings as trainer and model hold them.

# %%
resolved = read_json(folder / "resolved.json")
steps, measured = (list(read_jsonl(folder / f"{name}.jsonl")) for name in ("log", "validation"))
display(Image(report.png(plots.loss_curve(steps, measured))))
display(HTML(report.table(record.loss_table(resolved["result"]))))
display(HTML(report.table([{"setting": name, "value": str(value)} for name, value in resolved.items()])))

# %% [markdown]
# ## Take it elsewhere (where `merged`, `gguf` or `hub` is set)

# %%
from ftlib import export

if merged or gguf:
    export.merge(folder)
if gguf:
    print(export.gguf(folder / "merged", gguf))
if hub:
    print(export.push(folder, hub))

# %% [markdown]
# Next: **04_eval** asks base and tuned model the same things.
