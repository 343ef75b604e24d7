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
# | `documents.jsonl`; an OpenAI-compatible API, or a question file | `chats.jsonl`, `questions.jsonl` | seconds; minutes with an API; no GPU |
#
# Three kinds of chats: question/answer pairs on each page (`page_qa`, by an API or from a file), one instruction for each
# page (`page_instruction`), one question for each code file (`file_snapshot`). A tenth of the documents is held out.

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
base_url = ""  # an OpenAI-compatible server; empty: OpenAI's own, if there is a key
api_model = "gpt-4.1-mini"  # the model at that server
api_key_name = "OPENAI_API_KEY"  # the name of the secret: environment, then Colab's secrets
ask_for_key = False  # ask for the key at a prompt when it is in neither
pairs_per_page = 5
limit = 0  # ask about the first pages only, for a trial; 0: all
questions = ""  # a question file in place of an API; empty: NAME.questions.jsonl beside the repository, if it is there
general_chats = True  # add chats that have nothing to do with the project, against forgetting

# %%
from ftlib import runtime
from ftlib.workspace import open_workspace

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## Write the chats
# Every answer of the API is kept in `responses.jsonl` as it comes: a second run does not ask (or pay) again.

# %%
from ftlib.synth import SynthConfig, synth

config = SynthConfig(
    project=project,
    base_url=base_url,
    model=api_model,
    pairs_per_page=pairs_per_page,
    limit=limit,
    questions=questions,
    general_chats=general_chats,
)
manifest = synth(config, space, api_key=runtime.secret(api_key_name, ask=ask_for_key))
print("Question/answer pairs are from", manifest["page_qa"])
for page, reason in manifest["failed_pages"].items():
    print("No pairs:", page, reason)

# %% [markdown]
# ## What there is now

# %%
from IPython.display import HTML, display

from ftlib import report
from ftlib.workspace import read_jsonl

counts = manifest["counts"]
rows = [{"method": m, "chats": n, "held out": counts["validation"].get(m, 0)} for m, n in counts["chats"].items()]
rows += [{"method": f"asked only: {kind}", "chats": n, "held out": n} for kind, n in counts["asked_only"].items()]
display(HTML(report.table(rows)))

# %% [markdown]
# ## One chat of each kind

# %%
chats = list(read_jsonl(space.chats))
for method in counts["chats"]:
    user, assistant = next(chat for chat in chats if chat["method"] == method)["messages"][-2:]
    question, answer = report.shown(user["content"]), report.shown(assistant["content"][:400])
    display(HTML(f"<b>{method}</b><p>{question}</p><pre>{answer}</pre>"))

# %% [markdown]
# Next: **03_train** trains on documents and chats in one run.
