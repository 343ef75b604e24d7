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
# # 4 · Eval: what it learned, what it forgot, what it leaks
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ftlib/ftlib/blob/main/notebooks/04_eval.ipynb)
#
# | reads | writes | time |
# | --- | --- | --- |
# | `documents.jsonl`, `chats.jsonl`, `questions.jsonl`, `runs/<name>/` | `evals/<name>/`: `report.html`, `results.json`, `samples.jsonl`, PNG, Markdown | minutes on a GPU; under 3 minutes for the sample on 2 CPU cores |
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
    requirement = "ftlib[eval] @ git+https://github.com/ftlib/ftlib"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", requirement], check=True)

# %% [markdown]
# ## Settings
# Without a judge, answers are graded by keywords on word boundaries and by overlap; the report says how far that agrees
# with answers labelled by hand.

# %% tags=["parameters"]
workspace = ""  # the project's folder; empty: ./workspace, on Colab /content/ftlib
use_drive = False  # on Colab: keep the workspace on your Drive, so that it outlives the runtime
run_name = "first"
eval_settings = {}  # any field of EvalConfig, e.g. {"questions_limit": 50, "forgetting_budget": -0.02}
judge = {}  # a model that grades: {"model": "gpt-4.1-mini"}, or with "base_url" any OpenAI-compatible server; it costs
api_key_name = "OPENAI_API_KEY"  # the name of the secret: environment, then Colab's secrets; used for a judge only
lm_eval_tasks = []  # tasks of EleutherAI's harness, e.g. ["hellaswag"]; takes pip install lm-eval
lm_eval_limit = 200  # items of each of them
chat_pane = False  # talk to both models at the end; takes pip install gradio

# %%
from ftlib import runtime
from ftlib.workspace import open_workspace

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## Ask both
# Every answer is on disk as soon as it ends. Stop this cell when you like, and run it again.

# %%
from dataclasses import asdict

from ftlib import mixture, settings
from ftlib.evaluate import default_eval, evaluate
from ftlib.inference import load_arms
from ftlib.report import write_report
from ftlib.synth import SynthConfig, questions_path
from ftlib.training.record import write_card
from ftlib.workspace import is_done, read_json, read_jsonl, read_manifest, require, require_run, write_manifest

require(space, "documents", "chats")
run = require_run(space, run_name)
folder = space.eval(run_name)
config = settings.changed(default_eval(runtime.accelerator()), eval_settings)
judging = settings.changed(SynthConfig(), judge) if judge else None
inputs = {
    "documents": space.documents,
    "chats": space.chats,
    "questions": questions_path(space),
    "run": space.run(run_name) / "manifest.json",
}
asked = {**asdict(config), "judge": judge}
before = read_manifest(folder)
if not is_done(folder, settings=asked, inputs=inputs) or before["counts"]["unjudged"]:
    model, tokenizer, trained = load_arms(space.run(run_name))
    mixing = mixture.MixtureConfig(**run["settings"]["mixture"])
    # Only the held-out rows are needed; general chats were all trained on.
    mixing = settings.changed(mixing, {"general": "", "replay_tokens": 0})
    rows = mixture.build_mixture(read_jsonl(space.documents), read_jsonl(space.chats), tokenizer, mixing)
    api_key = runtime.secret(api_key_name) if judge else None
    samples, results = await evaluate(
        model, tokenizer, space, run_name, rows.validation, config, judging=judging, api_key=api_key
    )
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
    unjudged = sum(found["unjudged"] for found in results["sets"].values())
    counts = {"samples": len(samples), "seconds": results["seconds"], "unjudged": unjudged}
    write_manifest(folder, stage="04_eval", settings=asked, inputs=inputs, counts=counts, packages=("torch", "peft"))

# %% [markdown]
# ## Verdict
# PASS and FAIL need the whole interval on one side of the budget (`forgetting_budget` and the others in `eval_settings`);
# a set that is too small to tell says UNDECIDED.

# %%
from IPython.display import HTML, Image, display

from ftlib import report

results, samples = read_json(folder / "results.json"), list(read_jsonl(folder / "samples.jsonl"))
print(results["verdict"]["line"])
display(HTML(report.section("verdict", samples, results)))
display(Image(data=(folder / "scorecard.png").read_bytes(), width=560))
display(HTML(report.section("scorecard", samples, results)))

# %% [markdown]
# ## What it learned, forgot and leaks
# Recited texts, facts that changed, the same questions by retrieval; general answers by kind, the training's style in
# them, losses, and the adapter at other scales.

# %%
display(HTML(report.section("learned", samples, results)))
for picture in ("recall", "dial"):
    if (folder / f"{picture}.png").exists():
        display(Image(data=(folder / f"{picture}.png").read_bytes(), width=480))
display(HTML(report.section("forgotten", samples, results)))
display(HTML(report.section("leaked", samples, results)))

# %% [markdown]
# ## Read some answers yourself
# Numbers pick the candidate, reading picks the model. The report has more of them, worst regressions first.

# %%
for kind in ("trained", "general", "sampled"):
    for row in [row for row in samples if row["set"] == kind][:3]:
        answers = "".join(f"<li>{arm}: {report.shown(row[arm]['text'])}</li>" for arm in ("base", "tuned"))
        display(HTML(f"<b>{kind}</b> {report.shown(row['question'])}<ul>{answers}</ul>"))

# %% [markdown]
# ## More, where you want it
# Tasks of the lm-eval harness on the loaded model, and a pane to talk to both models by hand.

# %%
if lm_eval_tasks or chat_pane:
    model, tokenizer, trained = load_arms(space.run(run_name))
if lm_eval_tasks:
    from ftlib.evaluation.harness import lm_eval_rows

    display(HTML(report.table(lm_eval_rows(model, tokenizer, lm_eval_tasks, limit=lm_eval_limit))))
if chat_pane:
    from ftlib.evaluation import chat_pane as pane

    pane.chat_pane(model, tokenizer).launch(share=False)  # gradio would make a public link of it on Colab

# %%
print("The whole report:", folder / "report.html")
