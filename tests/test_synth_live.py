"""02_synth with a living server: `transformers serve` and the embedded model, which is far too small for this work.

It writes no JSON worth the name. The notebook has to run through all the same, and to say so.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from ftlib.models import model_path
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.synth.prompts import Pair
from ftlib.synth.reading import read_items
from ftlib.workspace import open_workspace, read_jsonl, read_manifest

RUN = Path(__file__).parents[1] / "notebooks" / "run.py"


@pytest.fixture(scope="module")
def server():
    """The address of a running server, and the name of its model."""
    model = model_path("demo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [shutil.which("transformers", path=str(Path(sys.executable).parent)) or "transformers", "serve", model]
    # So small a model is many times slower on several threads where the cores are shared.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5)
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.5)
        if process.poll() is not None:
            raise AssertionError((process.communicate()[0] or b"").decode()[-3000:])
        yield f"{url}/v1", model
    finally:
        process.kill()
        process.communicate()


def test_the_notebook_runs_through_and_says_how_little_passes(server, tmp_path):
    url, model = server
    space = open_workspace(tmp_path)
    scrape(ScrapeConfig("sample"), space)
    settings = [f"base_url={url}", f"api_model={model}", "limit=1", "pairs_per_page=1"]
    settings.append('synth_settings={"max_tokens": 40, "max_retries": 0, "timeout": 200.0}')
    done = subprocess.run(
        [sys.executable, str(RUN), "--workspace", str(tmp_path), "--only", "02_synth", "--set", *settings],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "SET": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = read_manifest(space.chats) or {}
    # What the model wrote is on disk, and the funnel counts what is in it: nothing more.
    responses = list(read_jsonl(space.root / "responses.jsonl"))
    found = [read_items(row["content"], Pair) for row in responses]
    assert responses and all(row["usage"][1] > 0 for row in responses)
    assert manifest["funnel"][0]["kept"] == sum(len(reading.items) + len(reading.wrong) for reading in found)
    kept = manifest["counts"]["chats"].get("page_qa", 0)
    assert kept == manifest["funnel"][-1]["kept"] <= 1
    assert f"{manifest['funnel'][0]['kept']} pairs from {model}" in done.stdout
    assert f"{kept} are left after curation" in done.stdout
    assert manifest["spent"]["tokens_out"] == sum(row["usage"][1] for row in responses)
    assert bool(manifest["failed_pages"]) == (not found[0].items)
    shown = nbformat.read(space.root / "notebooks" / "02_synth.ipynb", as_version=4)
    assert json.dumps(shown).count("wiki:Architecture.md") >= 1  # the page without pairs is named
