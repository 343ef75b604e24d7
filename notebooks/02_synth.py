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
# # 2 · Synth: documents become chats
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ftlib/ftlib/blob/main/notebooks/02_synth.ipynb)
#
# | reads | writes | time |
# | --- | --- | --- |
# | `documents.jsonl`; an OpenAI-compatible API, or a question file; your own dialogues | `chats.jsonl`, `questions.jsonl`, `rejected.jsonl`; `responses.jsonl` keeps all answers | seconds; minutes with an API; no GPU |
#
# Three kinds of chats: question/answer pairs on each page (`page_qa`, by an API or from a file), one instruction for each
# page (`page_instruction`), one question for each code file (`file_snapshot`). Only pairs that stand on their page and can
# be understood without it are kept. A tenth of the documents is held out, with all their chats. In other words, too:
# `paraphrases` in a row of the question file are more wordings of its question to train on, and
# `synth_settings = {"snapshot_wordings": 3}` has each page and file asked for in three. `unknown_chats` ask for what does
# not exist. The embedded model has defaults of its own (`settings.default_synth`); `synth_settings` goes before them.

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
project = ""  # the project's name in the questions; empty: the repository's
base_url = (
    ""  # an OpenAI-compatible server (vLLM, Ollama, llama.cpp, Azure ...); empty: OpenAI's own, if there is a key
)
api_model = "gpt-4.1-mini"  # the model at that server
api_key_name = "OPENAI_API_KEY"  # the name of the secret: environment, then Colab's secrets
ask_for_key = False  # ask for the key at a prompt when it is in neither
pairs_per_page = 5
limit = 0  # ask about the first documents only, for a trial: 3 pages show what all will cost; 0: all
batch = False  # OpenAI's Batch API: half the price, within a day; run again later to collect
judge = False  # let the model check each pair against its page, too
dialogues = ""  # a file of your own dialogues: messages, ShareGPT or Alpaca rows
questions = ""  # a question file in place of an API; empty: NAME.questions.jsonl beside the repository, if it is there
model = ""  # the model that 03_train will train, to leave out what is too long for it; empty: by this machine
synth_settings = {}  # any other field of SynthConfig, e.g. {"paraphrases": 2, "general_chats": False, "prices": {...}}

# %%
from ftlib import models, runtime, settings
from ftlib.workspace import open_workspace, read_jsonl, require

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## What it will cost
# Before any call. The prices are in one table, `ftlib.synth.money.PRICES`, and `synth_settings = {"prices": ...}` goes
# before it. Without answers to measure on, the numbers are assumptions: run once with `limit = 3`.

# %%
from ftlib.synth import SynthConfig, money, plan, synth

config = SynthConfig(
    project=project,
    base_url=base_url,
    model=api_model,
    pairs_per_page=pairs_per_page,
    limit=limit,
    batch=batch,
    judge=judge,
    dialogues=dialogues,
    questions=questions,
)
machine = runtime.accelerator()
name = model or models.default_model(machine.memory_gib)
require(space, "documents")
documents = sum(1 for _ in read_jsonl(space.documents))
config = settings.changed(config, {**settings.default_synth(name, machine, documents), **synth_settings})
api_key = runtime.secret(api_key_name, ask=ask_for_key)
if (base_url or api_key) and not questions:
    print(money.in_words(plan(config, space), config))
else:
    print("No API will be asked: there is neither a key nor a base_url, or a question file is chosen.")

# %% [markdown]
# ## Write the chats
# Every answer of the API is in `responses.jsonl` before it is looked at. Stop this cell when you like, and run it again,
# in this runtime or another one with the same workspace: nothing is asked (or paid) for twice.

# %%
manifest = await synth(config, space, api_key=api_key, tokenizer=models.load_tokenizer(name))
print("Question/answer pairs are from", manifest["page_qa"])
if manifest["unanswered"]:
    print(manifest["unanswered"], "requests got no answer: run this cell again to ask only those again.")

# %% [markdown]
# ## What there is now

# %%
from IPython.display import HTML, Image, display

from ftlib import plots, report

counts = manifest["counts"]
rows = [{"method": m, "chats": n, "held out": counts["validation"].get(m, 0)} for m, n in counts["chats"].items()]
rows += [{"method": f"asked only: {kind}", "chats": n, "held out": n} for kind, n in counts["asked_only"].items()]
display(HTML(report.table(rows)))
for method, number in (counts["too_long"] or {}).items():
    print(f"{method}: {number} left out, longer than {config.snapshot_tokens:,} tokens of {name}")

# %% [markdown]
# ## What curation kept
# In this order: the asked form; nothing points at a text that the reader does not see; the project or page is named;
# the evidence stands in the page; one question is asked once. All that was removed is in `rejected.jsonl`.

# %%

funnel = manifest["funnel"]
if funnel[0]["kept"]:
    display(Image(report.png(plots.funnel(funnel))))
    removed = [{"step": step["step"], **sample} for step in funnel for sample in step["samples"]]
    display(HTML(report.table(removed)))
failed = {}
for page, reason in manifest["failed_pages"].items():
    failed.setdefault(reason, []).append(page)
rows = [{"no pairs": len(pages), "because": reason, "among them": pages[0]} for reason, pages in failed.items()]
display(HTML(report.table(rows) if rows else "Every document that was asked about has its pairs."))

# %% [markdown]
# ## Coverage, kinds and lengths
# Pages and files with question/answer pairs, and with any chat; what the questions ask for; how long the answers are.

# %%
display(HTML(report.table([{"source": source, **found} for source, found in manifest["coverage"].items()])))
chats = list(read_jsonl(space.chats))
if manifest["kinds"]:
    display(Image(report.png(plots.bars(manifest["kinds"], "Kinds of questions", "pairs"))))
lengths = {}
for chat in chats:
    lengths.setdefault(chat["method"], []).append(len(chat["messages"][-1]["content"]))
display(Image(report.png(plots.lengths(lengths, "Answers by method", "characters"))))

# %% [markdown]
# ## Ten pairs beside their evidence
# Read them: no number says whether a question is worth asking.

# %%
import random

pairs = [chat for chat in chats if chat["method"] == "page_qa"]
shown = [
    {
        "question": chat["messages"][-2]["content"],
        "answer": chat["messages"][-1]["content"],
        "evidence": chat.get("evidence", ""),
        "document": chat["document_id"],
    }
    for chat in random.Random(0).sample(pairs, min(10, len(pairs)))
]
display(HTML(report.table(shown)))

# %% [markdown]
# ## Facts that changed
# Values that pull requests or page history replaced, with the one that holds now. They are asked by 04_eval and not
# trained on, unless you set `changed_chats`, which trains on them in other words, with their dates.

# %%
from ftlib.synth import questions_path

changed = [row for row in read_jsonl(questions_path(space)) if row["set"] == "changed"]
print(len(changed), "facts")
display(HTML(report.table(changed[:10], {"question": "question", "old": "old", "current": "now"})))

# %% [markdown]
# ## Spend

# %%
if manifest["spent"]:
    display(HTML(report.table([manifest["spent"]])))
else:
    print("No API was asked.")

# %% [markdown]
# Next: **03_train** trains on documents and chats in one run.
