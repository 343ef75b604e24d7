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
# # 4 · Eval: what it learned, what it forgot
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ftlib/ftlib/blob/main/notebooks/04_eval.ipynb)
#
# | reads | writes | time |
# | --- | --- | --- |
# | `documents.jsonl`, `chats.jsonl`, `questions.jsonl`, `runs/<name>/` | `evals/<name>/`: `report.html`, `results.json`, `samples.jsonl`, PNG, Markdown | minutes on a GPU; 2 minutes for the sample on 2 CPU cores |
#
# Base and tuned model get the same prompts in the same batches with the same decoding. The base is loaded once, and the
# adapter is switched off for its answers.

# %% [markdown]
# ## Install
# Runs in Colab only; it moves neither torch nor numpy, and stops with pip's own message when it fails.

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    requirement = "ftlib @ git+https://github.com/ftlib/ftlib"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", requirement], check=True)

# %% [markdown]
# ## Settings

# %% tags=["parameters"]
workspace = ""  # the project's folder; empty: ./workspace, on Colab /content/ftlib
use_drive = False  # on Colab: keep the workspace on your Drive, so that it outlives the runtime
run_name = "first"
eval_settings = {}  # any field of EvalConfig, e.g. {"questions_limit": 50, "recall_items": 10}

# %%
from ftlib import runtime
from ftlib.workspace import open_workspace

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## Ask both

# %%
from ftlib import mixture, settings
from ftlib.evaluate import EvalConfig, evaluate
from ftlib.inference import load_arms
from ftlib.report import write_report
from ftlib.synth import questions_path
from ftlib.training.record import write_card
from ftlib.workspace import is_done, read_json, read_jsonl, read_manifest, require, require_run, write_manifest

require(space, "documents", "chats")
run = require_run(space, run_name)
folder = space.eval(run_name)
config = settings.changed(EvalConfig(), eval_settings)
inputs = {
    "documents": space.documents,
    "chats": space.chats,
    "questions": questions_path(space),
    "run": space.run(run_name) / "manifest.json",
}
if not is_done(folder, settings=config, inputs=inputs):
    model, tokenizer, trained = load_arms(space.run(run_name))
    mixing = mixture.MixtureConfig(**run["settings"]["mixture"])
    # Only the held-out rows are needed; the general chats were all trained on.
    mixing = settings.changed(mixing, {"general": ""})
    rows = mixture.build_mixture(read_jsonl(space.documents), read_jsonl(space.chats), tokenizer, mixing)
    samples, results = evaluate(model, tokenizer, space, rows.validation, config)
    about = {
        "project": read_manifest(space.chats)["project"],
        "run": run_name,
        "model": trained["model"],
        "rank": trained["lora_r"] if trained.get("method", "lora") == "lora" else "all weights",
        "steps": run["counts"]["steps"],
        "machine": trained["machine"]["name"],
    }
    write_report(folder, samples, results, about)
    write_card(space.run(run_name), results)
    counts = {"samples": len(samples), "seconds": results["seconds"]}
    write_manifest(folder, stage="04_eval", settings=config, inputs=inputs, counts=counts, packages=("torch", "peft"))

# %% [markdown]
# ## Verdict

# %%
from IPython.display import HTML, Image, display

from ftlib import report

results, samples = read_json(folder / "results.json"), list(read_jsonl(folder / "samples.jsonl"))
print(results["verdict"])
display(Image(data=(folder / "scorecard.png").read_bytes()))
display(HTML(report.table(report.score_rows(results))))
display(HTML(report.table(report.loss_rows(results))))
display(HTML(report.table(report.recall_rows(samples))))

# %% [markdown]
# ## Read some answers yourself
# Numbers pick the candidate, reading picks the model. The report has all answers, worst regressions first.

# %%
for kind in ("trained", "general", "sampled"):
    for row in [row for row in samples if row["set"] == kind][:3]:
        answers = "".join(f"<li>{arm}: {report.shown(row[arm]['text'])}</li>" for arm in ("base", "tuned"))
        display(HTML(f"<b>{kind}</b> {report.shown(row['question'])}<ul>{answers}</ul>"))

# %%
print("The whole report:", folder / "report.html")
