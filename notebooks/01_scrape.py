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
# # 1 · Scrape: a repository becomes documents
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ftlib/ftlib/blob/main/notebooks/01_scrape.ipynb)
#
# | reads | writes | time |
# | --- | --- | --- |
# | a repository: `owner/name`, a URL, a path, or `sample` | `documents.jsonl` | seconds to minutes, no GPU |
#
# Code, pages, wiki and merged pull requests are read through git objects: nothing is checked out, nothing is run.
# Secrets are replaced by typed placeholders before anything is written. What is left out is shown with its reason.

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
repository = "sample"  # "owner/name", a URL, a local path, or "sample": the fictional project that comes with ftlib
branch = ""  # empty: the repository's own
date = ""  # "2023-12-21": the state at the end of that day; empty: now
wiki = ""  # the wiki's git repository; empty: the one beside the repository, if any; "none": no wiki
pull_requests = 100  # the last N merged
model = ""  # only to count its tokens; empty: the model that 03_train will take on this machine

# %%
from ftlib import runtime
from ftlib.workspace import open_workspace

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## Read the repository
# For a private repository put `GITHUB_TOKEN` into Colab's secrets or the environment.

# %%
from ftlib.scrape import ScrapeConfig, scrape

config = ScrapeConfig(repository, branch or None, date or None, wiki or None, pull_requests)
manifest = scrape(config, space, token=runtime.secret("GITHUB_TOKEN"))
print(f"{manifest['full_name']}, branch {manifest['branch']}, commit {manifest['commit'][:10]} of {manifest['date']}")
for note in manifest["notes"]:
    print("Note:", note)

# %% [markdown]
# ## What was read
# Tokens are those of the model that will be trained. The recipe is made for up to tens of millions of them.

# %%
from IPython.display import HTML, Image, display

from ftlib import models, plots, report, tokens
from ftlib.workspace import read_jsonl

name = model or models.default_model(runtime.accelerator().memory_gib)
tokenizer = models.load_tokenizer(name)
documents = list(read_jsonl(space.documents))
counts = tokens.count_tokens(documents, tokenizer)
display(HTML(report.table(counts)))
print(f"{sum(row['tokens'] for row in counts):,} tokens in all, counted by the tokenizer of {name}")

# %% [markdown]
# ## What was left out, and why

# %%
skipped = manifest["counts"]["skipped"]
chart = Image(report.png(plots.bars(skipped, "Files left out, by reason", "files")))
display(chart if skipped else "No file was left out.")
display(HTML(report.table(manifest["skipped"][:10])))

# %% [markdown]
# ## What was taken out of the text
# Secrets and e-mail addresses, by kind. The values are neither shown nor kept.

# %%
redactions = [{"kind": kind, "places": number} for kind, number in manifest["redactions"].items()]
display(HTML(report.table(redactions)) if redactions else "Nothing was found that had to be taken out.")

# %% [markdown]
# ## One document of each source

# %%
for row in counts:
    document = next(d for d in documents if d["source"] == row["source"])
    display(HTML(f"<b>{report.shown(document['id'])}</b><pre>{report.shown(document['text'][:600])}</pre>"))

# %% [markdown]
# Next: **02_synth** writes chats on these documents.
