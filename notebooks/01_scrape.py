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
# Code, pages and wiki are read through git objects: nothing is checked out, nothing is run. Pull requests come from
# GitHub with their comments and reviews; from git's history for any other repository. Secrets are replaced by typed
# placeholders before anything is written. What is left out is shown with its reason.

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
wiki = ""  # the wiki's git repository or a folder of exported pages; empty: the one beside it, if any; "none": no wiki
pull_requests = 100  # the last N merged
pull_requests_from = ""  # "github" (comments and reviews too), "history" (git alone); empty: what fits the repository
issues = 0  # the last N, from GitHub
discussions = 0  # the last N, from GitHub; they need a token
drop_duplicates = "exact"  # "near": also texts that are nearly the same; "none": they are only reported
model = ""  # only to count its tokens; empty: the model that 03_train will take on this machine

# %%
from ftlib import runtime
from ftlib.workspace import open_workspace

space = open_workspace(workspace or runtime.default_workspace(use_drive=use_drive))
print(space.root)

# %% [markdown]
# ## Read the repository
# Put `GITHUB_TOKEN` into Colab's secrets or the environment: private repositories and the verdicts of reviews need one,
# and GitHub answers 5,000 requests an hour with one, 60 without. Stop at any time: a second run asks for nothing twice.

# %%
from ftlib.scrape import ScrapeConfig, scrape

config = ScrapeConfig(
    repository,
    branch or None,
    date or None,
    wiki or None,
    pull_requests,
    pull_requests_from=pull_requests_from or None,
    issues=issues,
    discussions=discussions,
    drop_duplicates=drop_duplicates,
)
manifest = scrape(config, space, token=runtime.secret("GITHUB_TOKEN"))
print(f"{manifest['full_name']}, branch {manifest['branch']}, commit {manifest['commit'][:10]} of {manifest['date']}")
print(f"Licence: {manifest['licence'] or 'none that is known'}. Requests to GitHub: {manifest['requests'] or 'none'}")
for note in manifest["notes"]:
    print("Note:", note)

# %% [markdown]
# ## What was read
# Tokens are those of the model that will be trained. The dates are those that the texts are true for.

# %%
from IPython.display import HTML, Image, display

from ftlib import models, plots, report, tokens
from ftlib.workspace import read_jsonl

name = model or models.default_model(runtime.accelerator().memory_gib)
tokenizer = models.load_tokenizer(name)
documents = list(read_jsonl(space.documents))
counts = tokens.count_tokens(documents, tokenizer)
display(HTML(report.table(counts)))
total = sum(row["tokens"] for row in counts)
print(f"{total:,} tokens in all, counted by the tokenizer of {name}")

# %% [markdown]
# The recipe is made for tens of millions of tokens on one GPU. With fewer it is quick and learns what there is; with
# more, take the newest pull requests and leave out what nobody will ask about.

# %%
display(Image(report.png(plots.budget({row["source"]: row["tokens"] for row in counts}))))

# %% [markdown]
# ## When the pull requests were merged

# %%
merged = [document["date"] for document in documents if document["source"] == "pull_request" and document["date"]]
display(Image(report.png(plots.timeline(merged, "Merged pull requests"))) if merged else "There are none.")

# %% [markdown]
# ## What was left out, and why

# %%
skipped = manifest["counts"]["skipped"]
chart = Image(report.png(plots.bars(skipped, "Files left out, by reason", "files")))
display(chart if skipped else "No file was left out.")
display(HTML(report.table(manifest["skipped"][:10])))

# %% [markdown]
# Texts that are there twice, or nearly so. With `drop_duplicates` they are left out or kept.

# %%
duplicates = manifest["duplicates"]
display(HTML(report.table(duplicates[:10])) if duplicates else "No text is there twice.")

# %% [markdown]
# ## What was taken out of the text
# Secrets and e-mail addresses, by kind, and the documents and lines in which they stood. The values are neither shown
# nor kept. Look at some of these lines, and for secrets that are none: a pattern errs in both directions.

# %%
redactions = [{"kind": kind, "places": number} for kind, number in manifest["redactions"].items()]
display(HTML(report.table(redactions)) if redactions else "Nothing was found that had to be taken out.")
places = [
    {"document": document, "kind": kind, "lines": ", ".join(map(str, lines))}
    for document, found in manifest["redacted"].items()
    for kind, lines in found.items()
]
display(HTML(report.table(places[:15])) if places else "")

# %% [markdown]
# ## Three documents
# Of the sources with most tokens, the one of middle length.

# %%
for row in sorted(counts, key=lambda row: row["tokens"], reverse=True)[:3]:
    alike = sorted((d for d in documents if d["source"] == row["source"]), key=lambda d: len(d["text"]))
    document = alike[len(alike) // 2]
    display(HTML(f"<b>{report.shown(document['id'])}</b> · {document['date']}"))
    display(HTML(f"<pre>{report.shown(document['text'][:1200])}</pre>"))

# %% [markdown]
# Next: **02_synth** writes chats on these documents.
